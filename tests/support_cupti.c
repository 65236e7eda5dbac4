/* SPDX-License-Identifier: Apache-2.0 */
#include "support_cupti.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

const char *built_path(const char *name)
{
	static char path[8][4400];
	static int next;
	char self[4096], *result = path[next++ % 8];
	ssize_t bytes = readlink("/proc/self/exe", self, sizeof(self) - 1);

	CHECK(bytes > 0);
	self[bytes] = '\0';
	snprintf(result, sizeof(path[0]), "%s/../%s", dirname(self), name);
	return result;
}

static void *load(const char *path)
{
	void *loaded = dlopen(path, RTLD_NOW | RTLD_GLOBAL);

	if (!loaded)
		test_fail(__FILE__, __LINE__, "%s", dlerror());
	return loaded;
}

const struct double_cupti *cupti_load(void)
{
	const struct double_cupti *(*control)(void);
	void *cupti = load(built_path("doubles/libcupti.so.13"));

	*(void **)&control = dlsym(cupti, "double_cupti_control");
	CHECK(control);
	return control();
}

void cupti_inject(void)
{
	void *library = load(built_path("libkvtap-cupti.so"));
	int (*initialize)(void);

	*(void **)&initialize = dlsym(library, "InitializeInjection");
	CHECK(initialize);
	CHECK_EQ(initialize(), 1);
}

struct double_copy cupti_a_copy(const struct double_cupti *cupti)
{
	uint64_t now = cupti->now();

	return (struct double_copy){ .kind = H2D,
				     .source = PINNED,
				     .target = DEVICE,
				     .bytes = 4096,
				     .start = now - 2000,
				     .end = now,
				     .count = 1,
				     .stream = 7 };
}

static _Noreturn void be_program(int say, int hear, void (*run)(void))
{
	char byte = 0;

	run();
	CHECK_EQ(write(say, &byte, 1), 1);
	CHECK_EQ(read(hear, &byte, 1), 0);
	exit(0);
}

void program_start(struct program *program, void (*run)(void))
{
	int said[2], told[2];
	char byte;

	CHECK_EQ(pipe2(said, O_CLOEXEC), 0);
	CHECK_EQ(pipe2(told, O_CLOEXEC), 0);
	*program = (struct program){ .said = said[0], .told = told[1] };
	program->pid = fork();
	CHECK(program->pid >= 0);
	if (program->pid == 0) {
		close(said[0]);
		close(told[1]);
		be_program(said[1], told[0], run);
	}
	close(said[1]);
	close(told[0]);
	CHECK_EQ(read(program->said, &byte, 1), 1);
}

void program_end(struct program *program)
{
	int status;

	close(program->told);
	close(program->said);
	CHECK_EQ(waitpid(program->pid, &status, 0), program->pid);
	CHECK_EQ(status, 0);
}

struct page *page_of(void)
{
	struct exporter exporter;
	struct page *page;

	exporter_start(&exporter, NULL);
	page = page_scrape(&exporter);
	exporter_finish(&exporter);
	return page;
}
