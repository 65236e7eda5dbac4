/* SPDX-License-Identifier: Apache-2.0 */
/*
 * double_cupti.h - a double of CUPTI: records that hardware would have to make, and its refusals
 *
 * $BUILD/doubles/libcupti.so.13 has those of CUPTI's functions that kvtap calls. Records go into
 * buffers that the client gives, only of kinds that it enabled; a copy that is asked for on a thread
 * with an external id is preceded by the id's record. A test loads it by its path with RTLD_GLOBAL
 * before kvtap looks, and gets its controls by dlsym("double_cupti_control").
 */
#ifndef DOUBLE_CUPTI_H
#define DOUBLE_CUPTI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct double_copy { /* by name; kinds are CUPTI's numbers */
	uint8_t kind, source, target;
	bool peer;	 /* a record of peer copies */
	bool label_late; /* the record of its external id comes after it */
	uint64_t bytes, start, end, count;
	uint32_t device, stream;
};

struct double_cupti {
	void (*set_version)(uint32_t version); /* at first 130001 */
	/* a function, by its name in CUPTI's headers, returns this from now on */
	void (*fail)(const char *function, int result);
	/* a buffer is full with this many records; 0: when its bytes are used */
	void (*set_buffer_records)(size_t records);
	/* full buffers are kept, also through a flush, until release() */
	void (*hold)(void);
	void (*release)(void);
	/* from now on a flush never returns */
	void (*hang_flush)(void);
	void (*copy)(struct double_copy copy);
	/* a record as it is; @valid of its bytes are said to be there, and the buffer is then full */
	void (*raw)(const void *record, size_t bytes, size_t valid);
	/* what a copy's stamp is taken from: the client's clock, or CLOCK_REALTIME */
	uint64_t (*now)(void);
	/* another client takes the callbacks, and frees each buffer that it gets */
	void (*steal)(void);
	uint64_t (*stolen)(void); /* buffers that the other client got and freed */
	uint64_t (*calls)(const char *function);
	uint64_t (*forced_flushes)(void);
	uint64_t (*buffers_out)(void);
	/* calls that CUPTI forbids or that cost more than copies may: kinds beside copies and external
	 * ids, another clock after the first kind; each is told on stderr */
	uint64_t (*violations)(void);
};

const struct double_cupti *double_cupti_control(void);

#endif /* DOUBLE_CUPTI_H */
