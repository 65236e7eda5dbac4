/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_machine.c - see cuda_machine.h */
#include "cuda_machine.h"

#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

/* Of a device file, "" if there is none. */
static const char *read_line(const struct cuda_driver *cuda, const char *name, char text[128])
{
	char bus[32] = "", path[128];

	text[0] = '\0';
	if (!cuda->device_bus || cuda->device_bus(bus, sizeof(bus), cuda->device) != 0)
		return text;
	for (char *at = bus; *at; at++)
		*at = (char)tolower(*at);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bus, name);
	FILE *file = fopen(path, "re");
	if (file) {
		if (!fgets(text, 128, file))
			text[0] = '\0';
		fclose(file);
	}
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void print_file(const struct cuda_driver *cuda, const char *key, const char *name)
{
	char text[128];

	if (*read_line(cuda, name, text))
		printf(" %s=\"%s\"", key, text);
}

static int attribute(const struct cuda_driver *cuda, int which)
{
	int value = 0;

	return cuda->device_attribute(&value, which, cuda->device) == 0 ? value : 0;
}

/* The kernel module's, which the library has to have too: "... Kernel Module  580.95 ..." */
static void print_module(void)
{
	FILE *file = fopen("/proc/driver/nvidia/version", "re");
	char line[256];
	int major, minor;

	while (file && fgets(line, sizeof(line), file)) {
		const char *at = strstr(line, "Kernel Module");

		at = at ? strpbrk(at, "0123456789") : NULL;
		if (at && sscanf(at, "%d.%d", &major, &minor) == 2) {
			printf(" module=%.*s", (int)strspn(at, "0123456789."), at);
			break;
		}
	}
	if (file)
		fclose(file);
}

void cuda_machine_print(const struct cuda_driver *cuda)
{
	char bus[32];

	printf("cuda device=\"%s\" compute=%d.%d driver=%d", cuda->name,
	       attribute(cuda, CUDA_COMPUTE_MAJOR), attribute(cuda, CUDA_COMPUTE_MINOR),
	       cuda->version);
	print_module();
	if (cuda->device_bus && cuda->device_bus(bus, sizeof(bus), cuda->device) == 0)
		printf(" bus=%s", bus);
	print_file(cuda, "link_speed", "current_link_speed");
	print_file(cuda, "link_width", "current_link_width");
	print_file(cuda, "numa_node", "numa_node");
	print_file(cuda, "near_cpus", "local_cpulist");
	printf(" clock_mhz_most=%d memory_clock_mhz_most=%d cpu=%d batch=%s\n",
	       attribute(cuda, CUDA_CLOCK_KHZ) / 1000,
	       attribute(cuda, CUDA_MEMORY_CLOCK_KHZ) / 1000, sched_getcpu(),
	       cuda->copy_batch ? "yes" : "no");
}

static cpu_set_t allowed;

void cuda_machine_pin(const struct cuda_driver *cuda)
{
	cpu_set_t one;
	char list[128], *at = list;
	int first, last, bytes;

	read_line(cuda, "local_cpulist", list);
	sched_getaffinity(0, sizeof(allowed), &allowed);
	while (sscanf(at, "%d%n", &first, &bytes) == 1) {
		at += bytes;
		last = first;
		if (sscanf(at, "-%d%n", &last, &bytes) == 1)
			at += bytes;
		for (int cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, &allowed))
				continue;
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			if (sched_setaffinity(0, sizeof(one), &one) == 0)
				return;
		}
		at += *at == ',';
	}
	bench_pin(0);
}

void cuda_machine_unpin(void)
{
	sched_setaffinity(0, sizeof(allowed), &allowed);
}
