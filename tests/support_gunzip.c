/* SPDX-License-Identifier: Apache-2.0 */
/* support_gunzip.c - take a gzip stream of any number of members apart */
#include "support_gunzip.h"

#include <zlib.h>

#include "test.h"

size_t gunzip(char *out, size_t room, const char *data, size_t bytes)
{
	z_stream stream = { .next_in = (z_const Bytef *)data,
			    .avail_in = (uInt)bytes,
			    .next_out = (Bytef *)out,
			    .avail_out = (uInt)room };

	CHECK_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
	do { /* nothing may follow the last member */
		CHECK_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
		CHECK_EQ(inflateReset(&stream), Z_OK);
	} while (stream.avail_in);
	size_t written = (size_t)((char *)stream.next_out - out);
	inflateEnd(&stream);
	return written;
}
