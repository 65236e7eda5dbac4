/* SPDX-License-Identifier: Apache-2.0 */
/*
 * respond.h - answers: status, headers and body, onto a connection of libmicrohttpd
 *
 * All of them note the connection as taking its response. What they return is the handler's result.
 */
#ifndef KVTAP_EXPORTER_RESPOND_H
#define KVTAP_EXPORTER_RESPOND_H

#include <microhttpd.h>

#include "negotiate.h"
#include "request.h"

enum MHD_Result respond_text(struct request *request, unsigned status, const char *text);
enum MHD_Result respond_html(struct request *request, const char *html, size_t bytes);
/* respond_page - takes the reference over */
enum MHD_Result respond_page(struct request *request, struct page *page, enum offer offer,
			     enum page_encoding encoding);

/* landing_create - the page with links, to be freed; NULL: out of memory */
char *landing_create(const char *telemetry_path, size_t *bytes);

#endif
