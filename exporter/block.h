/* SPDX-License-Identifier: Apache-2.0 */
/* block.h - what a family remembers of its bytes on the pages of one format */
#ifndef KVTAP_EXPORTER_BLOCK_H
#define KVTAP_EXPORTER_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gzip.h"

struct page_block {
	size_t at, bytes; /* on the current page */
	uint64_t layout;  /* the family's when it was rendered */
	bool stale;	  /* to be rendered anew for another reason than that */
	bool fresh;	  /* it was, and waits at fresh_at to be put in its place */
	size_t fresh_at, fresh_bytes;
	struct gzip_block gzip; /* of the current page, while that is wanted */
};

#endif
