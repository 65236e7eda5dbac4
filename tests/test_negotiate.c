/* SPDX-License-Identifier: Apache-2.0 */
/* test_negotiate.c - what clients get by the headers that they really send, and by malformed ones */
#include "../exporter/negotiate.h"

#include <stdio.h>

#include "test.h"

#define OM100 "application/openmetrics-text;version=1.0.0"
#define OM001 "application/openmetrics-text;version=0.0.1"
#define PROTO                                                                                      \
	"application/"                                                                             \
	"vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
#define TYPE_OM "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define TYPE_TEXT "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_TEXT_1 "text/plain; version=1.0.0; charset=utf-8"
#define TYPE_PROTO                                                                                 \
	"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "               \
	"encoding=delimited"

/* The Content-Type that these Accept headers, ended by NULL, get. */
static const char *type_of(const char *const *headers)
{
	static char type[CONTENT_TYPE_BYTES];
	struct accept accept = { 0 };

	for (; *headers; headers++)
		negotiate_accept(&accept, *headers);
	negotiate_type(type, &accept, negotiate_offer(&accept));
	return type;
}

static void check_type(const char *header, const char *expected)
{
	const char *type = type_of((const char *[]){ header, NULL });

	if (strcmp(type, expected) != 0)
		test_fail(__FILE__, __LINE__, "%s:\n%s, not %s", header, type, expected);
}

TEST(negotiate_gives_text_0_0_4_when_there_is_no_header)
{
	CHECK_STR(type_of((const char *[]){ NULL }), TYPE_TEXT);
}

TEST(negotiate_gives_each_prometheus_what_it_asks_for_first)
{
	/* 2.42, without and with native histograms */
	check_type(OM100 "," OM001 ";q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TYPE_OM);
	check_type(PROTO "," OM100 ";q=0.8," OM001 ";q=0.75,text/plain;version=0.0.4;q=0.5,"
			 "*/*;q=0.1",
		   TYPE_PROTO);
	/* 3.0 */
	check_type(OM100 ";escaping=allow-utf-8;q=0.6," OM001 ";escaping=allow-utf-8;q=0.5,"
			 "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
			 "text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
		   TYPE_OM "; escaping=allow-utf-8");
	/* 3.5, without and with native histograms */
	check_type(OM100 ";escaping=allow-utf-8;q=0.6," OM001 ";q=0.5,"
			 "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
			 "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
		   TYPE_OM "; escaping=allow-utf-8");
	check_type(PROTO ";q=0.6," OM100 ";escaping=allow-utf-8;q=0.5," OM001 ";q=0.4,"
			 "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
			 "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
		   TYPE_PROTO);
}

TEST(negotiate_takes_weights_of_any_form)
{
	check_type(OM100 ";q=0.3,text/plain;version=0.0.4;q=0.30001", TYPE_TEXT);
	check_type(OM100 ";q=1,text/plain;version=0.0.4;q=0.999999999999999999999", TYPE_OM);
	check_type(OM100 ";q=.5,text/plain;version=0.0.4;q=0.4", TYPE_OM);
	check_type(OM100 ";q=1.,text/plain;version=0.0.4;q=0.9", TYPE_OM);
	check_type(OM100 " ; Q=0.5 , TEXT/Plain ; Version=0.0.4 ; q=0.6", TYPE_TEXT);
	check_type(OM100 ";q=7,text/plain;version=0.0.4;q=0.6", TYPE_OM);
}

TEST(negotiate_passes_over_elements_that_are_malformed)
{
	check_type(OM100 ";q=x,text/plain;version=0.0.4;q=0.1", TYPE_TEXT);
	check_type(OM100 ";q=,*/*;q=0.1", TYPE_TEXT);
	check_type(OM100 ";q=0.5.5", TYPE_TEXT);
	check_type(OM100 ";q=-1", TYPE_TEXT);
	check_type(",,;,;;q=1,=," OM100, TYPE_OM);
	check_type("application/openmetrics-text;version=\"1.0.0", TYPE_TEXT);
	check_type("\"," OM100, TYPE_TEXT);
	check_type("", TYPE_TEXT);
	check_type("/", TYPE_TEXT);
	check_type("application/", TYPE_TEXT);
}

TEST(negotiate_lets_the_most_exact_range_count)
{
	check_type("*/*;q=1," OM100 ";q=0.1", TYPE_TEXT);
	check_type("*/*;q=0.1,text/*;q=0.2,application/*;q=0.3", TYPE_OM);
	check_type("text/plain;q=0.9,text/plain;version=0.0.4;q=0.1",
		   TYPE_TEXT_1 "; escaping=underscores");
	check_type("*/*," OM100 ";q=0", TYPE_TEXT);
	check_type("*/*;q=0.1, application/openmetrics-text", TYPE_OM);
	check_type(OM100 ",*/*", TYPE_OM);
}

TEST(negotiate_gives_text_0_0_4_when_nothing_that_there_is_was_asked_for)
{
	check_type("image/png", TYPE_TEXT);
	check_type("text/plain;q=0", TYPE_TEXT);
	check_type(OM001, TYPE_TEXT);
	check_type("application/openmetrics-text;version=2.0.0", TYPE_TEXT);
	check_type("application/vnd.google.protobuf;proto=x;encoding=delimited", TYPE_TEXT);
	check_type("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
		   "encoding=text",
		   TYPE_TEXT);
}

TEST(negotiate_tells_the_escaping_that_was_asked_for)
{
	check_type("text/plain;version=1.0.0", TYPE_TEXT_1 "; escaping=underscores");
	check_type("text/plain;version=1.0.0;escaping=dots", TYPE_TEXT_1 "; escaping=dots");
	check_type("text/plain;version=1.0.0;escaping=\"values\"", TYPE_TEXT_1 "; escaping=values");
	check_type("text/plain;version=1.0.0;escaping=x\r\nA: b",
		   TYPE_TEXT_1 "; escaping=underscores");
	check_type(OM100, TYPE_OM);
	check_type("text/plain;version=0.0.4;escaping=dots", TYPE_TEXT);
}

TEST(negotiate_takes_several_headers_as_one_list)
{
	CHECK_STR(type_of((const char *[]){ "text/plain;version=0.0.4;q=0.5", OM100, NULL }),
		  TYPE_OM);
	CHECK_STR(type_of((const char *[]){ OM100 ";q=0.4", "text/plain;version=0.0.4;q=0.5",
					    NULL }),
		  TYPE_TEXT);
}

TEST(negotiate_takes_gzip_when_it_is_liked_no_less_than_plain_bytes)
{
	static const struct {
		const char *header;
		bool gzip, needed;
	} cases[] = {
		{ "gzip", true, false },
		{ "identity", false, false },
		{ "", false, false },
		{ "*", true, false },
		{ "gzip;q=0", false, false },
		{ "gzip;q=0.5, identity", false, false },
		{ "gzip;q=0.5, identity;q=0.5", true, false },
		{ "deflate, gzip;q=1.0, *;q=0.5", true, false },
		{ "x-gzip", true, false },
		{ "gzip, identity;q=0", true, true },
		{ "gzip, *;q=0", true, true },
		{ "GZIP;Q=0.001,IDENTITY;Q=0.000", true, true },
		{ "identity;q=0", false, false },
		{ "*;q=0", false, false },
		{ "gzip;q=0, *", false, false },
		{ "br", false, false },
		{ "gzip;q=x", false, false },
		{ "gzipped", false, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct accept_encoding accept = { 0 };

		negotiate_accept_encoding(&accept, cases[i].header);
		if (negotiate_gzip(&accept) != cases[i].gzip ||
		    negotiate_needs_gzip(&accept) != cases[i].needed)
			test_fail(__FILE__, __LINE__, "'%s'", cases[i].header);
	}
}

TEST(negotiate_takes_plain_bytes_when_no_encoding_is_named)
{
	struct accept_encoding accept = { 0 };

	CHECK(!negotiate_gzip(&accept));
	CHECK(!negotiate_needs_gzip(&accept));
}
