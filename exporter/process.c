/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - what the kernel says about this process, for the process_ families
 *
 * Read when a page is made, never in a drain pass. proc(5) has the formats.
 */
#include "process.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double limit(int resource)
{
	struct rlimit value;

	if (getrlimit(resource, &value))
		return 0;
	return value.rlim_cur == RLIM_INFINITY ? (double)UINT64_MAX : (double)value.rlim_cur;
}

/* Since Linux 6.2 the size of the folder is its count; reading it takes a while with many clients. */
static double count_fds(double before)
{
	struct stat status;

	if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
		return (double)status.st_size;
	DIR *folder = opendir("/proc/self/fd");
	const struct dirent *entry;
	double count = -1; /* the folder's own */

	if (!folder)
		return before;
	while ((entry = readdir(folder)))
		count += entry->d_name[0] != '.';
	closedir(folder);
	return count;
}

/* When the system booted, in seconds since the epoch. */
static double boot_time(void)
{
	FILE *file = fopen("/proc/stat", "re");
	char line[256];
	double seconds = 0;

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "btime %lf", &seconds) == 1)
			break;
	fclose(file);
	return seconds;
}

static void read_stat(struct process *process)
{
	FILE *file = fopen("/proc/self/stat", "re");
	char line[1024];
	double threads, start_ticks, virtual_bytes, resident_pages;

	if (!file)
		return;
	char *end = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	/* after the name: field 3; then 20 threads, 22 start, 23 virtual, 24 resident */
	if (!end || sscanf(end + 1,
			   " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
			   " %lf %*s %lf %lf %lf",
			   &threads, &start_ticks, &virtual_bytes, &resident_pages) != 4)
		return;
	process->threads = threads;
	process->virtual_bytes = virtual_bytes;
	process->resident_bytes = resident_pages * (double)sysconf(_SC_PAGESIZE);
	if (process->start_time_seconds == 0)
		process->start_time_seconds =
			boot_time() + start_ticks / (double)sysconf(_SC_CLK_TCK);
}

void process_read(struct process *process)
{
	struct timespec cpu;

	if (!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu))
		process->cpu_seconds = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
	process->open_fds = count_fds(process->open_fds);
	process->max_fds = limit(RLIMIT_NOFILE);
	process->virtual_max_bytes = limit(RLIMIT_AS);
	read_stat(process);
}
