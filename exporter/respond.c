/* SPDX-License-Identifier: Apache-2.0 */
/* respond.c - answers: status, headers and body, onto a connection of libmicrohttpd */
#include "respond.h"

#include <stdio.h>
#include <string.h>

#include "kvtap.h"

#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_HTML "text/html; charset=utf-8"

static void add(struct MHD_Response *response, const char *name, const char *value)
{
	MHD_add_response_header(response, name, value);
}

/* The configured ones; two have a value of ours where none is set, and an empty one leaves it out. */
static void add_configured(struct MHD_Response *response, const struct web_config *config)
{
	static const char *const defaults[WEB_HEADERS] = {
		[WEB_HEADER_CSP] = "default-src 'none'",
		[WEB_HEADER_SNIFF] = "nosniff",
	};

	for (int i = 0; i < WEB_HEADERS; i++) {
		const char *value = config->header[i] ? config->header[i] : defaults[i];
		if (value && *value)
			add(response, web_header_names[i], value);
	}
}

/* A connection ends with its response when the exporter does, or when it began by other rules. */
static bool is_last(const struct request *request)
{
	return request->settings != request->peer->settings ||
	       atomic_load_explicit(&request->service->stopping, memory_order_relaxed);
}

/* Takes the response over. */
static enum MHD_Result respond(struct request *request, unsigned status, const char *type,
			       struct MHD_Response *response, size_t bytes)
{
	enum MHD_Result result = MHD_NO;

	if (!response)
		return MHD_NO;
	add(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	add_configured(response, &request->settings->config);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		add(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	if (status == MHD_HTTP_UNAUTHORIZED)
		add(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Basic realm=\"kvtap-exporter\"");
	if (is_last(request))
		add(response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (connections_move(request->service->connections, request->peer->connection,
			     CONNECTION_TAKING, bytes))
		result = MHD_queue_response(request->mhd, status, response);
	MHD_destroy_response(response);
	return result;
}

enum MHD_Result respond_text(struct request *request, unsigned status, const char *text)
{
	size_t bytes = strlen(text);

	return respond(request, status, TYPE_TEXT,
		       MHD_create_response_from_buffer(bytes, (void *)text, MHD_RESPMEM_PERSISTENT),
		       bytes);
}

enum MHD_Result respond_html(struct request *request, const char *html, size_t bytes)
{
	return respond(request, MHD_HTTP_OK, TYPE_HTML,
		       MHD_create_response_from_buffer(bytes, (void *)html, MHD_RESPMEM_PERSISTENT),
		       bytes);
}

static void release_page(void *page)
{
	page_release(page);
}

enum MHD_Result respond_page(struct request *request, struct page *page, enum offer offer,
			     enum page_encoding encoding)
{
	char type[CONTENT_TYPE_BYTES];
	size_t bytes = page_bytes(page);

	negotiate_type(type, &request->accept, offer);
	/* the response owns the reference, and gives it back when its last byte is sent */
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback_cls(bytes,
								       (void *)page_data(page),
								       release_page, page);
	if (!response) {
		page_release(page);
		return MHD_NO;
	}
	add(response, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
	if (encoding == PAGE_GZIP)
		add(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
	return respond(request, MHD_HTTP_OK, type, response, bytes);
}

static void print_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("&<>\"'", *text))
			fprintf(out, "&#%d;", *text);
		else
			fputc(*text, out);
	}
}

char *landing_create(const char *telemetry_path, size_t *bytes)
{
	char *landing = NULL;
	FILE *out = open_memstream(&landing, bytes);

	if (!out)
		return NULL;
	fputs("<!DOCTYPE html>\n"
	      "<html lang=\"en\">\n"
	      "<head><meta charset=\"utf-8\"><title>kvtap-exporter</title></head>\n"
	      "<body>\n"
	      "<h1>kvtap-exporter</h1>\n"
	      "<p>Telemetry of KV-cache transfers, version " KVTAP_VERSION "</p>\n"
	      "<ul>\n"
	      "<li><a href=\"",
	      out);
	print_escaped(out, telemetry_path);
	fputs("\">Metrics</a></li>\n"
	      "<li><a href=\"/-/healthy\">Healthy</a></li>\n"
	      "<li><a href=\"/-/ready\">Ready</a></li>\n"
	      "</ul>\n"
	      "</body>\n"
	      "</html>\n",
	      out);
	return fclose(out) == 0 ? landing : NULL;
}
