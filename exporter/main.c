/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - wire the parts together and run the drain's loop
 *
 * The main thread finds segments, drains them, and makes the pages; only it touches series. HTTP
 * runs in threads of its own and sees nothing but finished pages. A scrape wakes the loop through
 * the cut and waits for a page that holds all that was recorded before it; without scrapes a page
 * is made at most once a second, when something changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "cut.h"
#include "discover.h"
#include "drain.h"
#include "http.h"
#include "interval_log.h"
#include "journal.h"
#include "log.h"
#include "options.h"
#include "pages.h"
#include "publish.h"
#include "self.h"

#define PUBLISH_NS (1000 * CLOCK_MS)
#define PASS_MIN_US 200
#define PASS_MAX_US 100000
#define PASS_IDLE_US 250000 /* a worker's end is noticed in less than twice this */
#define FILL_WANTED 0.25
#define STOP_GRACE_MS 5000

struct exporter {
	struct options options;
	struct series_table table;
	struct self self;
	struct drain *drain;
	struct intervals *intervals;	   /* NULL: there is no interval log */
	struct interval_log *interval_log; /* NULL: the same */
	struct discover *discover;
	struct journal *journal;
	uint64_t folder_opened; /* discover_opened() when the journal was opened */
	bool journal_failed;	/* to open in the folder that is there now */
	struct publication *publication;
	struct pages *pages;
	struct cut *cut;
	struct http *http;
	int signals;
	uint64_t pass_us;  /* until the next pass */
	uint64_t began_ns; /* the last pass */
	bool changed;	   /* since the last page */
	bool published;
	uint64_t publish_due;
};

/* Each worker takes some descriptors; the soft limit is meant for select(2), which is not used. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* What is written to stdout must not end up in whatever file gets its number. */
static void keep_standard_fds(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	if (fd >= 0)
		close(fd);
}

/* Before other threads start, so that none of them takes a signal. */
static int signals_open(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Returns: 0, -ENOMEM, or -EBUSY: responses hold all buffers of a page, which stays as it was. */
static int publish(struct exporter *exporter)
{
	uint64_t began_ns = clock_ns(), skips = publication_skips(exporter->publication);
	struct self *self = &exporter->self;

	self_count(self, SELF_CUT_TIMEOUTS, cut_timeouts(exporter->cut));
	self_count(self, SELF_PUBLICATIONS, pages_published(exporter->pages));
	self_count(self, SELF_PAGES_SKIPPED, publication_skips(exporter->publication));
	self_set(self, SELF_PAGES_BYTES, (double)pages_memory(exporter->pages));
	self_set_http(self, http_count(exporter->http));
	self_set(self, SELF_STATE_BYTES, (double)journal_bytes(exporter->journal));
	self_count(self, SELF_STATE_ERRORS, journal_errors(exporter->journal));
	if (exporter->interval_log)
		self_count(self, SELF_INTERVAL_LINES_LOST,
			   interval_log_lost(exporter->interval_log));
	self_update(self);
	journal_commit(exporter->journal); /* what a page shows has to be there after a restart */
	drain_stale(exporter->drain);
	if (!pages_publish(exporter->pages))
		return -ENOMEM;
	exporter->published = true;
	exporter->publish_due = began_ns + PUBLISH_NS;
	self_observe_ns(self, SELF_PUBLISH_SECONDS, clock_ns() - began_ns);
	if (skips != publication_skips(exporter->publication))
		return -EBUSY;
	exporter->changed = false;
	drain_published(exporter->drain, exporter->publish_due);
	return 0;
}

/* The state goes with the folder: first its own, then what workers have put there. */
static int open_journal(struct exporter *exporter)
{
	int rc = journal_open(exporter->journal, discover_folder(exporter->discover));

	if (!rc)
		exporter->folder_opened = discover_opened(exporter->discover);
	return rc;
}

/* Whether something happened in the folder that was not looked at; any thread. */
static bool is_folder_quiet(const struct exporter *exporter)
{
	struct pollfd folder = { .fd = discover_fd(exporter->discover), .events = POLLIN };

	return poll(&folder, 1, 0) == 0;
}

static void discover(struct exporter *exporter)
{
	bool happened = !is_folder_quiet(exporter);

	if (happened)
		drain_stale(exporter->drain);
	bool full = discover_poll(exporter->discover, happened);

	/* what could not be opened is tried again with each full scan */
	if (discover_opened(exporter->discover) != exporter->folder_opened &&
	    (full || !exporter->journal_failed))
		exporter->journal_failed = open_journal(exporter) != 0;
	if (full)
		drain_sweep(exporter->drain, discover_folder(exporter->discover));
}

/*
 * One pass. With scraped, everything committed before is in the page that answers the scrapes; with
 * all it is taken.
 */
static void turn(struct exporter *exporter, bool scraped, bool all)
{
	uint64_t request = scraped ? cut_begin(exporter->cut) : 0;

	discover(exporter);
	exporter->changed |= drain_pass(exporter->drain, scraped || all);
	bool due = exporter->changed && clock_ns() >= exporter->publish_due;
	if (!scraped && !due && exporter->published)
		return;
	int rc = publish(exporter);
	if (rc == -ENOMEM)
		log_error("No memory for a page; the last one stays");
	if (!rc && scraped)
		cut_end(exporter->cut, request);
}

/*
 * The next pass comes when the ring that filled fastest since the last one is a quarter full: the rest
 * is for bursts. What does not fit into a ring is folded by its worker, which is exact but has no
 * exemplar, and costs the worker more than a record. Scrapes don't wait for it: they ask for a pass.
 * Long silence is waited out in steps that grow slowly, so that who records every second or so
 * is still met at the shorter ones.
 */
static void adapt(struct exporter *exporter)
{
	uint64_t before_ns = exporter->began_ns, us = exporter->pass_us;
	uint64_t most = drain_took(exporter->drain) ? PASS_MAX_US : PASS_IDLE_US;
	double fill = drain_fill(exporter->drain);

	exporter->began_ns = clock_ns();
	us += us < PASS_MAX_US ? us : us / 8;
	if (us > most)
		us = most;
	double passed_us = (double)(exporter->began_ns - before_ns) / 1000;
	if (passed_us * FILL_WANTED < (double)us * fill)
		us = (uint64_t)(passed_us * FILL_WANTED / fill);
	exporter->pass_us = us < PASS_MIN_US ? PASS_MIN_US : us;
}

static uint64_t interval_left_ms(const struct exporter *exporter)
{
	return exporter->interval_log ? interval_log_left_ms(exporter->interval_log) : UINT64_MAX;
}

/* Until the next pass. */
static struct timespec wait_time(const struct exporter *exporter)
{
	uint64_t left_ms = interval_left_ms(exporter), us = exporter->pass_us;

	if (left_ms < us / 1000)
		us = left_ms * 1000;
	return (struct timespec){ .tv_sec = (time_t)(us / 1000000),
				  .tv_nsec = (long)(us % 1000000 * 1000) };
}

/* False: one that ends the exporter. */
static bool take_signal(struct exporter *exporter)
{
	struct signalfd_siginfo info;

	if (read(exporter->signals, &info, sizeof(info)) != sizeof(info))
		return true;
	if (info.ssi_signo == SIGHUP)
		http_reload(exporter->http);
	return info.ssi_signo == SIGHUP;
}

static void run(struct exporter *exporter)
{
	struct pollfd fds[] = {
		{ .fd = exporter->signals, .events = POLLIN },
		{ .fd = cut_fd(exporter->cut), .events = POLLIN },
		{ .fd = discover_fd(exporter->discover), .events = POLLIN },
	};

	exporter->pass_us = PASS_MIN_US;
	do {
		bool ends = interval_left_ms(exporter) == 0;

		turn(exporter, fds[1].revents, ends);
		if (ends) /* after a pass, so what was recorded in the interval is in its line */
			interval_log_end(exporter->interval_log);
		adapt(exporter);
		struct timespec wait = wait_time(exporter);
		if (ppoll(fds, sizeof(fds) / sizeof(fds[0]), &wait, NULL) < 0)
			fds[0].revents = fds[1].revents = 0;
	} while (!fds[0].revents || take_signal(exporter));
	log_info("Stopping");
	turn(exporter, true, true);
	if (exporter->interval_log)
		interval_log_end(exporter->interval_log);
	cut_end(exporter->cut, UINT64_MAX); /* that page is the last: nobody waits for another */
}

/* For scrapes, in their threads: no worker came, and none has recorded since the last page. */
static bool is_fresh(void *context)
{
	const struct exporter *exporter = context;

	return is_folder_quiet(exporter) && drain_fresh(exporter->drain);
}

static int start_intervals(struct exporter *exporter)
{
	const struct options *options = &exporter->options;

	if (!options->interval_ns)
		return 0;
	exporter->intervals = intervals_create(SAMPLE_LIMIT);
	if (!exporter->intervals)
		return -1;
	exporter->interval_log = interval_log_create(exporter->intervals, options->interval_ns,
						     options->interval_format, STDOUT_FILENO);
	return exporter->interval_log ? 0 : -1;
}

static int start(struct exporter *exporter)
{
	const struct options *options = &exporter->options;

	exporter->signals = signals_open();
	if (exporter->signals < 0 || kvtap_reader_guard())
		return -1;
	if (series_table_init(&exporter->table))
		return -1;
	exporter->table.idle_timeout_ns = options->idle_timeout_ns;
	exporter->table.families.limits = options->limits;
	if (self_init(&exporter->self, &exporter->table))
		return -1;
	exporter->journal = journal_create(&exporter->table);
	if (!exporter->journal || start_intervals(exporter))
		return -1;
	exporter->drain = drain_create(&exporter->table, &exporter->self, exporter->journal,
				       options->rank_label, exporter->intervals);
	exporter->publication = publication_create();
	exporter->cut = cut_create();
	if (!exporter->drain || !exporter->publication || !exporter->cut)
		return -1;
	exporter->pages = pages_create(&exporter->table, exporter->publication);
	if (!exporter->pages)
		return -1;
	if (discover_open(&exporter->discover, options->dir, options->name_space, drain_offer,
			  exporter->drain) ||
	    open_journal(exporter))
		return -1;
	cut_set_fresh(exporter->cut, is_fresh, exporter);
	return http_start(&exporter->http, &(struct http_options){
						   .listen_addresses = options->listen_addresses,
						   .listen_count = options->listen_count,
						   .systemd_socket = options->systemd_socket,
						   .web_config_file = options->web_config_file,
						   .telemetry_path = options->telemetry_path,
						   .publication = exporter->publication,
						   .cut = exporter->cut,
						   .cut_timeout_ms = options->cut_timeout_ms,
						   .compression = options->compression,
						   .limits = http_limits(),
					   });
}

static void stop(struct exporter *exporter)
{
	http_stop(exporter->http, STOP_GRACE_MS);
	discover_close(exporter->discover);
	drain_destroy(exporter->drain);
	interval_log_destroy(exporter->interval_log);
	intervals_destroy(exporter->intervals);
	journal_destroy(exporter->journal);
	pages_destroy(exporter->pages);
	publication_destroy(exporter->publication);
	cut_destroy(exporter->cut);
	series_table_free(&exporter->table);
	close(exporter->signals);
}

int main(int argc, char **argv)
{
	static struct exporter exporter;

	switch (options_parse(&exporter.options, argc, argv)) {
	case OPTIONS_EXIT_OK:
		return 0;
	case OPTIONS_EXIT_USAGE:
		return 2;
	case OPTIONS_RUN:
		break;
	}
	log_set_level(exporter.options.log_level);
	log_info("Starting kvtap-exporter", "version", KVTAP_VERSION);
	raise_fd_limit();
	keep_standard_fds();
	if (start(&exporter)) {
		log_error("Can't start");
		return 1;
	}
	run(&exporter);
	stop(&exporter);
	log_info("Stopped");
	return 0;
}
