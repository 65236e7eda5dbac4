/* SPDX-License-Identifier: Apache-2.0 */
/* process.h - what the kernel says about this process, for the process_ families */
#ifndef KVTAP_EXPORTER_PROCESS_H
#define KVTAP_EXPORTER_PROCESS_H

struct process {
	double cpu_seconds;
	double open_fds, max_fds;
	double virtual_bytes, virtual_max_bytes, resident_bytes;
	double start_time_seconds; /* since the epoch */
	double threads;
};

/* process_read - values that can't be read stay as they were */
void process_read(struct process *process);

#endif
