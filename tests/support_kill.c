/* SPDX-License-Identifier: Apache-2.0 */
/* support_kill.c - see support_kill.h */
#include "support_kill.h"

#include <stdio.h>
#include <sys/mman.h>

#include "test.h"

struct kill_memory *memory;
struct kill_found found;
struct watch watch;
static bool watching;

void kill_watch(pid_t pid)
{
	if (!watching)
		watch_open(&watch, pid);
	watching = true;
}

void kill_judge(void)
{
	struct kvtap_losses losses;

	found.blocked += kvtap_reader_life(watch.reader, false) == KVTAP_ALIVE ||
			 !kvtap_reader_retire(watch.reader);
	CHECK_EQ(kvtap_reader_losses(watch.reader, &losses), 0);
	found.lost += losses.lost_records + losses.lost_bytes + losses.refused_records;
}

void kill_forget(void)
{
	found.torn += watch.wrong;
	watch_remove(&watch);
	watching = false;
}

static void report(const char *name, const struct trace_result *result)
{
	printf("kill points: %s %u, of them %u not in libc; %u and %u of these beside the recorded "
	       "instruction, %u iterations of a rep left out; "
	       "torn %llu blocked %llu missing %llu doubled %llu inexact %llu lost %llu; "
	       "record in flight seen %llu, no segment yet %llu, orphans %llu\n",
	       name, result->points, result->own, result->beside, result->own_beside,
	       result->skipped, (unsigned long long)found.torn, (unsigned long long)found.blocked,
	       (unsigned long long)found.missing, (unsigned long long)found.doubled,
	       (unsigned long long)found.inexact, (unsigned long long)found.lost,
	       (unsigned long long)found.in_flight, (unsigned long long)found.unseen,
	       (unsigned long long)found.orphans);
	CHECK_EQ(found.torn + found.blocked + found.missing + found.doubled + found.inexact +
			 found.lost,
		 0);
	CHECK(result->points > 0);
}

void kill_run(const struct trace_scenario *scenario)
{
	struct trace_result result;

	if (trace_unavailable())
		SKIP("%s", trace_unavailable());
	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(memory != MAP_FAILED);
	result = trace_kill(scenario);
	report(scenario->name, &result);
}
