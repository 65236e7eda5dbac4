/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - one open segment, as the files reader*.c share it */
#ifndef KVTAP_READER_INTERNAL_H
#define KVTAP_READER_INTERNAL_H

#include <errno.h>
#include <sys/stat.h>

#include "kvtap_reader.h"
#include "owner.h"

/* A parsed kind: which label of it each feed's family takes. */
struct kvtap_reader_kind {
	struct kvtap_plan plan;
	uint16_t labels;
	struct kvtap_text label[KVTAP_LABELS_MAX];
	struct {
		uint8_t source[KVTAP_LABELS_MAX];
		struct kvtap_text fixed[KVTAP_LABELS_MAX];
	} feed[KVTAP_FEEDS_MAX];
};

struct kvtap_reader_family {
	struct kvtap_family_view view;
	struct kvtap_plan plan;
};

struct kvtap_reader_series {
	const struct kvtap_plan *plan;
	const struct kvtap_reader_kind *kind; /* NULL: of a family */
	const struct kvtap_text *label;	      /* [labels] names, of the target */
	uint16_t labels;
	const struct kvtap_text *value; /* in the order of the target's labels */
};

struct kvtap_reader_dictionary {
	uint8_t *data;	 /* private copy, [capacity] mapped, so that views never move */
	uint64_t parsed; /* bytes */
	uint64_t capacity;
	bool begun; /* the constants were read */
	struct kvtap_text constant[2 * KVTAP_LABELS_MAX];
	uint32_t constants, families, kinds, connectors, series, series_capacity;
	struct kvtap_reader_family *family[KVTAP_FAMILIES_MAX];
	struct kvtap_reader_kind *kind[KVTAP_KINDS_MAX];
	struct kvtap_connector_view connector[KVTAP_CONNECTORS_MAX];
	struct kvtap_reader_series *one; /* [series_capacity] */
	void **block;			 /* allocations to free */
	size_t blocks, blocks_capacity;
};

/* kvtap_reader_parse - parse data up to used; 0, -ENOMEM or -EPROTO */
int kvtap_reader_parse(struct kvtap_reader_dictionary *dictionary, uint64_t used);
void kvtap_reader_dictionary_free(struct kvtap_reader_dictionary *dictionary);

struct kvtap_reader_ring {
	uint64_t tail;		/* private copy of what this reader wrote */
	uint64_t folds;		/* fold sequence when its blocks began to be read */
	uint64_t folds_read;	/* the same, of the last time they were read to the end */
	uint64_t lost, refused; /* as the ring counted them when losses were told last */
	uint64_t *applied; /* [overflow_bytes / 8] words applied of each block; NULL: none yet */
	bool device;	   /* its head is found by looking at its slots */
	uint64_t seen;	   /* device: how far that got */
};

struct kvtap_reader {
	struct kvtap_segment_header header; /* checked copy; its live fields are not */
	struct kvtap_identity identity;
	struct kvtap_owner owner, self;
	struct kvtap_reader_dictionary dictionary;
	const uint8_t *base;
	uint8_t *tails;
	size_t tails_bytes;
	int folder, fd, tails_fd;
	bool judged;		    /* the first judgement is a thorough one */
	bool retired;		    /* nothing is written any more */
	enum kvtap_reject unbacked; /* why the next ring is not read */
	struct kvtap_losses told;
	uint64_t ringless_lost; /* of told, what the header counts */
	uint32_t rings;
	struct kvtap_reader_ring *ring; /* [ring_max] */
	uint64_t *block;		/* one block, as kvtap_block_view.now */
	char name[256], tails_name[256];
};

static inline int kvtap_reader_reject(enum kvtap_reject *why, enum kvtap_reject reason)
{
	*why = reason;
	return -EPROTO;
}

static inline const struct kvtap_ring_header *
kvtap_reader_ring_at(const struct kvtap_reader *reader, uint32_t ring)
{
	return (const struct kvtap_ring_header *)(reader->base + reader->header.rings_offset +
						  ring * reader->header.ring_bytes);
}

/* The first 8 bytes of the slot of an index, which in a device ring say whether its record is there. */
static inline const _Atomic(uint64_t) *kvtap_reader_slot_head(const struct kvtap_reader *reader,
							      uint32_t ring, uint64_t index)
{
	const struct kvtap_record *slots =
		(const struct kvtap_record *)((const uint8_t *)kvtap_reader_ring_at(reader, ring) +
					      KVTAP_RING_RECORDS);

	return (const _Atomic(uint64_t) *)&slots[index & (reader->header.ring_slots - 1)];
}

/* whether the first 8 bytes of a slot are those of the record of an index */
static inline bool kvtap_reader_is_there(uint64_t slot_head, uint64_t index)
{
	return (slot_head >> 40 & 0xff) != 0 && (uint16_t)(slot_head >> 48) == (uint16_t)index;
}

/* kvtap_reader_device_head - of a device ring: the index after its records; false: truncated */
bool kvtap_reader_device_head(struct kvtap_reader *reader, uint32_t ring, uint64_t *head);

static inline const struct kvtap_segment_header *
kvtap_reader_live(const struct kvtap_reader *reader)
{
	return (const struct kvtap_segment_header *)reader->base;
}

#endif
