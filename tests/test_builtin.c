/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_builtin.c - built-in groups, kinds and labels, as a reader finds them
 *
 * That the rows say what vLLM has is asked through a scrape, in e2e_families; here, that what a row
 * says is declared, when, and what of it a record feeds.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/builtin.h"
#include "support_segment.h"
#include "test.h"

#define ALL                                                                                        \
	(KVTAP_GROUP_OFFLOAD | KVTAP_GROUP_OFFLOAD_DEPRECATED | KVTAP_GROUP_OFFLOAD_CPU |          \
	 KVTAP_GROUP_TIERING | KVTAP_GROUP_NIXL | KVTAP_GROUP_MOONCAKE_STORE | KVTAP_GROUP_HF3FS | \
	 KVTAP_GROUP_KVTAP)

static struct kvtap *tap;
static struct watch watch;
static struct kvtap_series_view view;
static char said[512]; /* by the log, last */

static void listen(void *argument, enum kvtap_level level, const char *message)
{
	(void)argument;
	(void)level;
	snprintf(said, sizeof(said), "%s", message);
}

static int open_groups(uint32_t groups)
{
	struct kvtap_options options = small_options();

	options.groups = groups;
	options.overflow_bytes = 64 << 10;
	options.log = listen;
	return kvtap_open(&tap, &options);
}

static void begin(uint32_t groups)
{
	CHECK_EQ(open_groups(groups), 0);
	watch_open(&watch, getpid());
}

static void end(void)
{
	kvtap_close(tap);
	watch_remove(&watch);
}

/* The series of a built-in, or the error. */
static int builtin(const char *name, struct kvtap_builtin_labels labels)
{
	uint32_t series = 77;
	int rc = kvtap_builtin(tap, &series, name, &labels);

	CHECK((rc == 0) == (series != 0));
	return rc < 0 ? rc : (int)series;
}

#define BUILTIN(name, ...) builtin(name, (struct kvtap_builtin_labels){ __VA_ARGS__ })

/* Make the reader know all that is declared by now. */
static void refresh(void)
{
	enum kvtap_reject why;

	CHECK_EQ(kvtap_reader_refresh(watch.reader, &why), 0);
}

static void look(int series)
{
	CHECK(series > 0);
	refresh();
	CHECK(kvtap_reader_series(watch.reader, (uint32_t)series, &view));
}

static bool is(const struct kvtap_text *text, const char *expected)
{
	return text->bytes == strlen(expected) && !memcmp(text->data, expected, text->bytes);
}

static const struct kvtap_family_view *find_family(const char *name)
{
	for (uint32_t id = 1; id <= kvtap_reader_families(watch.reader); id++)
		if (is(&kvtap_reader_family(watch.reader, id)->name, name))
			return kvtap_reader_family(watch.reader, id);
	return NULL;
}

/* The cell that feeds this family, from this one on; UINT32_MAX: none. */
static uint32_t cell_of(const char *family, uint32_t from)
{
	for (uint32_t i = from; i < view.plan->cells; i++) {
		uint32_t id = view.plan->cell[i].family;

		if (is(&kvtap_reader_family(watch.reader, id)->name, family))
			return i;
	}
	return UINT32_MAX;
}

static bool feeds(const char *family)
{
	return cell_of(family, 0) != UINT32_MAX;
}

/* What the series says for a label of a family that it feeds. */
static const char *value_at(uint32_t cell, const char *label)
{
	static char value[128];
	const struct kvtap_family_view *family =
		kvtap_reader_family(watch.reader, view.plan->cell[cell].family);

	for (uint32_t i = 0; i < family->labels; i++) {
		const struct kvtap_text *text = &view.value[cell * KVTAP_LABELS_MAX + i];

		if (!is(&family->label[i], label))
			continue;
		snprintf(value, sizeof(value), "%.*s", (int)text->bytes, text->data);
		return value;
	}
	return NULL;
}

static const char *value_of(const char *family, const char *label)
{
	CHECK(feeds(family));
	return value_at(cell_of(family, 0), label);
}

/* ---- groups ---- */

static void check_row(const struct kvtap_builtin_group *group,
		      const struct kvtap_builtin_family *row)
{
	const struct kvtap_family *declared = &row->family;
	const struct kvtap_family_view *family = find_family(declared->name);
	const struct kvtap_connector *connector =
		row->connector ? row->connector : group->connector;

	CHECK(family);
	CHECK(is(&family->help, declared->help));
	CHECK_EQ(family->metric, declared->metric);
	CHECK_EQ(family->unit, declared->unit);
	CHECK_EQ(family->role, declared->role);
	CHECK_EQ(family->flags, group->at_zero ? 0 : KVTAP_FAMILY_LAZY);
	CHECK_EQ(family->bounds, declared->bound_count);
	for (size_t i = 0; i < declared->bound_count; i++)
		CHECK(family->bound[i] == declared->bounds[i]);
	CHECK_EQ(family->labels, declared->label_count);
	for (size_t i = 0; i < declared->label_count; i++)
		CHECK(is(&family->label[i], declared->label_names[i]));
	CHECK(!declared->label_names[declared->label_count]);
	CHECK((connector != NULL) == (family->connector != 0));
	if (!connector)
		return;
	CHECK(is(&kvtap_reader_connector(watch.reader, family->connector)->name, connector->name));
	CHECK_EQ(kvtap_reader_connector(watch.reader, family->connector)->summary,
		 connector->summary);
}

TEST(builtin_families_of_all_groups_are_read_back_as_their_rows_say)
{
	begin(ALL);
	CHECK(BUILTIN("vllm:kv_offload_stores_skipped") > 0);
	refresh();
	for (size_t i = 0; i < kvtap_builtin_groups; i++)
		for (size_t j = 0; j < kvtap_builtin_group[i].families; j++)
			check_row(&kvtap_builtin_group[i], &kvtap_builtin_group[i].family[j]);
	end();
}

/* By the rows, so that one more row is no change here: how many are there from the start. */
static uint32_t families_of(uint32_t groups)
{
	uint32_t count = 0;

	for (size_t i = 0; i < kvtap_builtin_groups; i++)
		for (size_t j = 0; j < kvtap_builtin_group[i].families; j++)
			count += groups & kvtap_builtin_group[i].bit &&
				 !kvtap_builtin_group[i].family[j].on_demand;
	return count;
}

static uint32_t series_of(uint32_t groups)
{
	uint32_t count = 0;

	for (size_t i = 0; i < kvtap_builtin_groups; i++) {
		const struct kvtap_builtin_group *group = &kvtap_builtin_group[i];
		uint32_t each = 0;

		while (group->values && group->values[each])
			each++;
		if (group->at_zero)
			count += families_of(groups & group->bit) * (group->values ? each : 1);
	}
	return count;
}

static void check_group(uint32_t groups)
{
	begin(groups);
	CHECK_EQ(kvtap_reader_families(watch.reader), families_of(groups));
	CHECK_EQ(kvtap_reader_series_count(watch.reader), series_of(groups));
	end();
}

TEST(builtin_groups_are_there_from_the_start_with_their_series)
{
	check_group(0);
	for (size_t i = 0; i < kvtap_builtin_groups; i++)
		check_group(kvtap_builtin_group[i].bit);
	check_group(ALL);
	CHECK_EQ(series_of(ALL),
		 series_of(KVTAP_GROUP_OFFLOAD_DEPRECATED | KVTAP_GROUP_NIXL | KVTAP_GROUP_HF3FS));
}

TEST(builtin_group_that_is_unknown_fails_to_open)
{
	CHECK_EQ(open_groups(0x100 | KVTAP_GROUP_NIXL), -EINVAL);
	CHECK_STR(said, "open: groups has unknown bits 0x100; they are KVTAP_GROUP_*");
	CHECK_EQ(BUILTIN(KVTAP_NIXL_TRANSFER), -ENODEV);
	kvtap_close(tap);
}

TEST(builtin_use_opts_in_to_the_whole_group)
{
	begin(0);
	look(BUILTIN("vllm:nixl_num_kv_expired_reqs"));
	CHECK_EQ(kvtap_reader_families(watch.reader), families_of(KVTAP_GROUP_NIXL));
	CHECK_EQ(kvtap_reader_series_count(watch.reader), series_of(KVTAP_GROUP_NIXL));
	CHECK_EQ(view.plan->role, KVTAP_ROLE_EXPIRED_REQUEST);
	look(BUILTIN(KVTAP_OFFLOAD_STORE));
	CHECK_EQ(kvtap_reader_families(watch.reader),
		 families_of(KVTAP_GROUP_NIXL | KVTAP_GROUP_OFFLOAD));
	CHECK_EQ(kvtap_reader_series_count(watch.reader), series_of(KVTAP_GROUP_NIXL) + 1);
	end();
}

TEST(builtin_stores_skipped_is_there_only_when_it_is_asked_for)
{
	begin(KVTAP_GROUP_OFFLOAD_CPU);
	CHECK(!find_family("vllm:kv_offload_stores_skipped"));
	look(BUILTIN("vllm:kv_offload_stores_skipped"));
	CHECK(find_family("vllm:kv_offload_stores_skipped"));
	end();
}

TEST(builtin_groups_are_nothing_to_a_tap_that_is_switched_off)
{
	uint32_t series = 77;

	setenv("KVTAP_DISABLE", "1", 1);
	CHECK_EQ(open_groups(ALL), 0);
	CHECK_EQ(kvtap_builtin(tap, &series, KVTAP_NIXL_TRANSFER, NULL), 0);
	CHECK_EQ(series, 0);
	kvtap_close(tap);
	CHECK_EQ(kvtap_builtin(NULL, &series, KVTAP_NIXL_TRANSFER, NULL), 0);
}

/* ---- kinds ---- */

TEST(builtin_kind_feeds_the_families_of_the_groups_that_the_tap_has)
{
	begin(0);
	look(BUILTIN(KVTAP_OFFLOAD_LOAD));
	CHECK_EQ(view.plan->cells, 3);
	CHECK_EQ(view.labels, 0);
	end();
	begin(KVTAP_GROUP_OFFLOAD_DEPRECATED);
	look(BUILTIN(KVTAP_OFFLOAD_LOAD));
	CHECK_EQ(view.plan->cells, 6);
	CHECK_STR(value_of("vllm:kv_offload_size", "transfer_type"), "CPU_to_GPU");
	look(BUILTIN(KVTAP_OFFLOAD_STORE));
	CHECK_STR(value_of("vllm:kv_offload_total_time", "transfer_type"), "GPU_to_CPU");
	end();
	begin(ALL);
	look(BUILTIN(KVTAP_OFFLOAD_LOAD));
	CHECK_EQ(view.plan->cells, 6 + 13);
	CHECK(!feeds("kvtap_expired_requests"));
	end();
}

TEST(builtin_kind_keeps_its_feeds_when_a_group_comes_later)
{
	begin(0);
	int load = BUILTIN(KVTAP_OFFLOAD_LOAD);
	CHECK(BUILTIN("kvtap_expired_requests") > 0);
	CHECK_EQ(BUILTIN(KVTAP_OFFLOAD_LOAD), load);
	CHECK_EQ(BUILTIN(KVTAP_OFFLOAD_LOAD, .peer = "b"), load);
	look(BUILTIN(KVTAP_OFFLOAD_STORE, .peer = "b"));
	CHECK_STR(value_of("kvtap_transfer_size_bytes", "peer"), "b");
	end();
}

/* With the labels that it needs. */
static int kind(const char *name)
{
	bool store = strcmp(name, KVTAP_MOONCAKE_STORE) == 0;

	return BUILTIN(name, .tier = "1:fs", .operation = store ? "save_put" : NULL,
		       .status = store ? "ok" : NULL);
}

static void check_kind(const char *name, const char *connector, enum kvtap_summary summary,
		       enum kvtap_role role, const char *direction)
{
	const struct kvtap_connector_view *found;

	look(kind(name));
	found = kvtap_reader_connector(watch.reader, view.plan->connector);
	CHECK(is(&found->name, connector));
	CHECK_EQ(found->summary, summary);
	CHECK_EQ(view.plan->role, role);
	CHECK_STR(value_of("kvtap_transfer_failures", "direction"), direction);
	CHECK_STR(value_of("kvtap_transfer_failures", "connector"), connector);
}

TEST(builtin_kinds_have_the_connectors_and_roles_of_vllm)
{
	static const char offloading[] = "OffloadingConnector", mooncake[] = "MooncakeConnector";

	begin(KVTAP_GROUP_KVTAP);
	check_kind(KVTAP_OFFLOAD_LOAD, offloading, 1, KVTAP_ROLE_TRANSFER, "load");
	check_kind(KVTAP_OFFLOAD_STORE, offloading, 1, KVTAP_ROLE_TRANSFER, "store");
	check_kind(KVTAP_TIERING_READ, offloading, 1, KVTAP_ROLE_TRANSFER, "read");
	check_kind(KVTAP_TIERING_WRITE, offloading, 1, KVTAP_ROLE_TRANSFER, "write");
	check_kind(KVTAP_NIXL_TRANSFER, "NixlPullConnector", 2, KVTAP_ROLE_TRANSFER, "transfer");
	check_kind(KVTAP_MOONCAKE_SEND, mooncake, 3, KVTAP_ROLE_TRANSFER, "send");
	check_kind(KVTAP_MOONCAKE_RECEIVE, mooncake, 3, KVTAP_ROLE_RECEIVE, "receive");
	check_kind(KVTAP_MOONCAKE_STORE, "MooncakeStoreConnector", 4, KVTAP_ROLE_OPERATION,
		   "save_put");
	check_kind(KVTAP_HF3FS_SAVE, "HF3FSKVConnector", 5, KVTAP_ROLE_SAVE, "save");
	check_kind(KVTAP_HF3FS_LOAD, "HF3FSKVConnector", 5, KVTAP_ROLE_LOAD, "load");
	end();
}

TEST(builtin_own_families_have_tier_peer_and_device_as_given)
{
	begin(KVTAP_GROUP_KVTAP);
	look(BUILTIN(KVTAP_NIXL_TRANSFER, .peer = "10.0.0.7"));
	CHECK_STR(value_of("kvtap_transfer_size_bytes", "peer"), "10.0.0.7");
	CHECK_STR(value_of("kvtap_transfer_size_bytes", "tier"), "");
	CHECK_STR(value_of("kvtap_transfer_size_bytes", "device"), "");
	look(BUILTIN(KVTAP_OFFLOAD_LOAD, .device = "3"));
	CHECK_STR(value_of("kvtap_transfer_size_bytes", "device"), "3");
	look(BUILTIN(KVTAP_TIERING_READ, .tier = "1:fs"));
	CHECK_STR(value_of("vllm:kv_offload_tiering_read_bytes", "tier"), "1:fs");
	CHECK_STR(value_of("kvtap_transfer_size_bytes", "tier"), "1:fs");
	CHECK_STR(value_of("kvtap_transfer_size_bytes", "peer"), "");
	end();
}

TEST(builtin_mooncake_store_feeds_all_of_vllms_families_whatever_the_status)
{
	begin(0);
	look(BUILTIN(KVTAP_MOONCAKE_STORE, .operation = "load_get", .status = "error"));
	CHECK_EQ(view.plan->cells, 5);
	for (uint32_t i = 0; i < view.plan->cells; i++) {
		CHECK(kvtap_cell_takes(&view.plan->cell[i], KVTAP_OK));
		CHECK(kvtap_cell_takes(&view.plan->cell[i], KVTAP_TIMED_OUT));
	}
	CHECK(is(&view.label[0], "operation") && is(&view.label_value[0], "load_get"));
	CHECK(is(&view.label[1], "status") && is(&view.label_value[1], "error"));
	CHECK_STR(value_of("vllm:mooncake_store_operation_keys", "status"), "error");
	end();
}

TEST(builtin_failures_have_one_class_for_each_status)
{
	static const struct {
		uint8_t status;
		const char *class;
	} failures[] = { { 1, "error" },     { 2, "timeout" }, { 3, "peer" },	{ 4, "space" },
			 { 5, "cancelled" }, { 6, "other" },   { 255, "other" } };

	begin(KVTAP_GROUP_KVTAP);
	look(BUILTIN(KVTAP_NIXL_TRANSFER));
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		int classes = 0;

		for (uint32_t cell = cell_of("kvtap_transfer_failures", 0); cell != UINT32_MAX;
		     cell = cell_of("kvtap_transfer_failures", cell + 1)) {
			if (!kvtap_cell_takes(&view.plan->cell[cell], failures[i].status))
				continue;
			CHECK_STR(value_at(cell, "class"), failures[i].class);
			classes++;
		}
		CHECK_EQ(classes, 1);
		CHECK(!kvtap_cell_takes(&view.plan->cell[cell_of("kvtap_transfer_size_bytes", 0)],
					failures[i].status));
	}
	end();
}

/* ---- names and labels ---- */

static void check_refused(int rc, const char *message)
{
	CHECK_EQ(rc, -EINVAL);
	CHECK_STR(said, message);
}

TEST(builtin_says_which_name_is_unknown)
{
	begin(0);
	check_refused(BUILTIN("vllm:kv_offload_loads"),
		      "declare: built-in \"vllm:kv_offload_loads\": no such family or kind of "
		      "transfer; see kvtap.h");
	check_refused(BUILTIN("vllm:nixl_num_kv_expired_reqs_total"),
		      "declare: built-in \"vllm:nixl_num_kv_expired_reqs_total\": no such family "
		      "or kind of transfer; see kvtap.h");
	check_refused(BUILTIN(NULL), "declare: built-in \"(null)\": no such family or kind of "
				     "transfer; see kvtap.h");
	refresh();
	CHECK_EQ(kvtap_reader_families(watch.reader), 0);
	end();
}

TEST(builtin_says_which_label_is_missing)
{
	begin(0);
	check_refused(BUILTIN(KVTAP_TIERING_READ),
		      "declare: built-in \"vllm:kv_offload_tiering_read\": label tier: it has no "
		      "value");
	check_refused(BUILTIN("vllm:kv_offload_tiering_chunk_hits"),
		      "declare: built-in \"vllm:kv_offload_tiering_chunk_hits\": label tier: it "
		      "has no value");
	check_refused(BUILTIN(KVTAP_MOONCAKE_STORE, .operation = "save_put"),
		      "declare: built-in \"vllm:mooncake_store\": label status: it has no value");
	end();
}

TEST(builtin_says_which_label_it_does_not_have)
{
	begin(0);
	check_refused(BUILTIN(KVTAP_HF3FS_SAVE, .operation = "save"),
		      "declare: built-in \"vllm:hf3fs_save\": label operation: it has no such "
		      "label");
	check_refused(BUILTIN("vllm:kv_offload_allocation_failure", .tier = "1:fs"),
		      "declare: built-in \"vllm:kv_offload_allocation_failure\": label tier: it "
		      "has no such label");
	check_refused(BUILTIN("vllm:kv_offload_total_bytes"),
		      "declare: built-in \"vllm:kv_offload_total_bytes\": label transfer_type: "
		      "only a kind of transfer gives it a value");
	end();
}

TEST(builtin_expired_requests_are_those_of_mooncake)
{
	begin(0);
	look(BUILTIN("kvtap_expired_requests"));
	CHECK_STR(value_of("kvtap_expired_requests", "connector"), "MooncakeConnector");
	CHECK(is(&kvtap_reader_connector(watch.reader, view.plan->connector)->name,
		 "MooncakeConnector"));
	CHECK_EQ(view.plan->role, KVTAP_ROLE_EXPIRED_REQUEST);
	check_refused(BUILTIN("kvtap_expired_requests", .peer = "b"),
		      "declare: built-in \"kvtap_expired_requests\": label peer: it has no such "
		      "label");
	end();
}

TEST(builtin_name_that_is_taken_by_another_family_gives_eexist)
{
	begin(0);
	counter_series(tap, "vllm:nixl_xfer_time_seconds");
	CHECK_EQ(BUILTIN(KVTAP_NIXL_TRANSFER), -EEXIST);
	CHECK(BUILTIN(KVTAP_OFFLOAD_LOAD) > 0);
	end();
}

/* ---- processes and threads ---- */

static void child_declares(int load)
{
	uint32_t groups = KVTAP_GROUP_NIXL | KVTAP_GROUP_OFFLOAD | KVTAP_GROUP_HF3FS;
	struct watch own;

	CHECK_EQ(BUILTIN(KVTAP_OFFLOAD_LOAD), load);
	CHECK(BUILTIN(KVTAP_HF3FS_SAVE) > 0);
	watch_open(&own, getpid());
	CHECK_EQ(kvtap_reader_families(own.reader), families_of(groups));
	CHECK_EQ(kvtap_reader_series_count(own.reader), series_of(groups) + 2);
	kvtap_close(tap);
	watch_remove(&own);
	_exit(0);
}

TEST(builtin_groups_and_their_series_are_there_in_a_fork_child_too)
{
	int status, load;
	pid_t child;

	begin(KVTAP_GROUP_NIXL);
	load = BUILTIN(KVTAP_OFFLOAD_LOAD);
	child = fork();
	if (child == 0)
		child_declares(load);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	refresh();
	CHECK(!find_family("vllm:hf3fs_num_failed_save"));
	end();
}

#define THREADS 8
#define KINDS_MAX 16
#define KINDS_GROUPS (ALL & ~(KVTAP_GROUP_OFFLOAD_DEPRECATED | KVTAP_GROUP_OFFLOAD_CPU))

static void ask(int series[KINDS_MAX])
{
	for (size_t i = 0; i < kvtap_builtin_kinds; i++)
		series[i] = kind(kvtap_builtin_kind[i].name);
}

static pthread_barrier_t start;

static void *ask_at_once(void *series)
{
	pthread_barrier_wait(&start);
	ask(series);
	return NULL;
}

TEST(builtin_asked_for_by_8_threads_at_once_gives_each_the_same)
{
	int series[THREADS][KINDS_MAX];
	pthread_t thread[THREADS];

	CHECK(kvtap_builtin_kinds <= KINDS_MAX);
	begin(0);
	CHECK_EQ(pthread_barrier_init(&start, NULL, THREADS), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, ask_at_once, series[i]), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(thread[i], NULL), 0);
	pthread_barrier_destroy(&start);
	for (size_t j = 0; j < kvtap_builtin_kinds; j++)
		for (int i = 0; i < THREADS; i++)
			CHECK(series[i][j] > 0 && series[i][j] == series[0][j]);
	end();
}

/* In a child whose parent was declaring: all is there, once, and each series is its kind's. */
static void ask_in_child(void)
{
	int series[KINDS_MAX];

	ask(series);
	kvtap_close(tap);
	watch_open(&watch, getpid());
	CHECK_EQ(kvtap_reader_families(watch.reader), families_of(KINDS_GROUPS));
	for (size_t i = 0; i < kvtap_builtin_kinds; i++) {
		look(series[i]);
		CHECK_EQ(view.plan->role, kvtap_builtin_kind[i].role);
		CHECK(is(&kvtap_reader_connector(watch.reader, view.plan->connector)->name,
			 kvtap_builtin_kind[i].connector->name));
	}
	watch_remove(&watch);
	_exit(0);
}

TEST(builtin_asked_for_in_fork_children_while_the_parent_declares_is_whole_in_each)
{
	int series[KINDS_MAX], status;
	pthread_t thread;

	if (with_asan() || with_tsan())
		SKIP("sanitizers lose track of locks and threads in a fork child");
	CHECK_EQ(pthread_barrier_init(&start, NULL, 2), 0);
	for (int i = 0; i < 50; i++) {
		begin(0);
		CHECK_EQ(pthread_create(&thread, NULL, ask_at_once, series), 0);
		pthread_barrier_wait(&start);
		for (volatile int wait = 0; wait < i * 1000; wait++)
			; /* another moment each time */
		pid_t child = fork();
		if (child == 0)
			ask_in_child();
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK_EQ(status, 0);
		CHECK_EQ(pthread_join(thread, NULL), 0);
		end();
	}
	pthread_barrier_destroy(&start);
}
