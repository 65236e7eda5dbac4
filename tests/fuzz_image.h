/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_image.h - the input of fuzz_segment: a segment and its tails, without the holes
 *
 * The first byte is a set of flags. With FUZZ_RAW the rest is the segment file, byte for byte. Else
 * it is a list of chunks, each struct fuzz_chunk and its bytes, which are written in this order; at
 * a FUZZ_PASS the exporter looks at what is there by then.
 */
#ifndef KVTAP_TESTS_FUZZ_IMAGE_H
#define KVTAP_TESTS_FUZZ_IMAGE_H

#include <stdint.h>

#define FUZZ_RAW 1u
#define FUZZ_ALIVE 2u /* the worker is this process */

enum fuzz_place {
	FUZZ_SEGMENT,	 /* the header; at offset 0 it sets the size of the file */
	FUZZ_DICTIONARY, /* from its start, as the header says, and so on */
	FUZZ_RING,
	FUZZ_RECORDS,
	FUZZ_ARENA,
	FUZZ_TAILS, /* the header; at offset 0 it sets the size of the file */
	FUZZ_TAIL,
	FUZZ_APPLIED, /* words to resume a block with, at offset in the arena */
	FUZZ_PASS,
	FUZZ_TRUNCATE, /* the segment, to offset */
	FUZZ_PLACES
};

struct fuzz_chunk {
	uint8_t place; /* modulo FUZZ_PLACES */
	uint8_t ring;
	uint16_t bytes; /* that follow */
	uint32_t offset;
};

_Static_assert(sizeof(struct fuzz_chunk) == 8, "no padding");

#endif
