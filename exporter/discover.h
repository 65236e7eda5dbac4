/* SPDX-License-Identifier: Apache-2.0 */
/*
 * discover.h - find segments in the namespace's folder; knows names, opens no segment
 */
#ifndef KVTAP_EXPORTER_DISCOVER_H
#define KVTAP_EXPORTER_DISCOVER_H

#include <stdbool.h>
#include <stdint.h>

/**
 * discover_offer - told of a segment file
 * @folder: borrowed for the call
 * @first:  false: this file was offered before and answered with false
 *
 * Returns: true: don't offer this file again.
 */
typedef bool discover_offer(void *context, int folder, const char *name, bool first);

struct discover;

/**
 * discover_open - open the folder <dir>/kvtap.<name_space>, made if missing, and lock it
 * @offer: called by discover_poll
 *
 * Logs what failed. Returns: 0 or a negative errno; -EWOULDBLOCK: another exporter reads it.
 */
int discover_open(struct discover **discover, const char *dir, const char *name_space,
		  discover_offer *offer, void *context);
void discover_close(struct discover *discover);

/* discover_fd - readable when something happened in the folder */
int discover_fd(const struct discover *discover);

/* discover_folder - its descriptor, borrowed; -1: it is gone and could not be made again */
int discover_folder(const struct discover *discover);
/* discover_opened - how often it was opened: once, and anew each time it had been replaced */
uint64_t discover_opened(const struct discover *discover);

/**
 * discover_poll - offer what is new, if something happened or a full scan is due
 * @happened: discover_fd() was readable; else what happens meanwhile leaves it readable
 *
 * Returns: whether it was a full scan.
 */
bool discover_poll(struct discover *discover, bool happened);

#endif
