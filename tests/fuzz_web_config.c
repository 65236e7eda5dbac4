/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_web_config.c - libFuzzer on the reader of the web configuration
 *
 * Whatever it takes must be usable: its strings are read, and its policy is made into words.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../exporter/web_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static size_t length(const char *text)
{
	return text ? strlen(text) : 0;
}

static void use(const struct web_config *config)
{
	char priorities[TLS_PRIORITIES_BYTES];
	size_t all = length(config->cert.file) + length(config->cert.text) +
		     length(config->key.file) + length(config->key.text) +
		     length(config->client_ca.file) + length(config->client_ca.text);

	for (size_t i = 0; i < config->san_count; i++)
		all += strlen(config->sans[i]);
	for (size_t i = 0; i < WEB_HEADERS; i++)
		all += length(config->header[i]);
	for (size_t i = 0; i < config->user_count; i++)
		all += strlen(config->users[i].name) +
		       (strlen(config->users[i].hash) == 60 ? 0 : 1u << 30);
	tls_policy_priorities(priorities, &config->policy);
	if (all > 16 * WEB_CONFIG_BYTES_MAX || strlen(priorities) + 1 == TLS_PRIORITIES_BYTES)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct web_config config;
	char error[WEB_ERROR_BYTES] = "";

	int rc = web_config_parse(&config, "fuzz", (const char *)data, bytes, error);
	if (rc == 0)
		use(&config);
	else if (!*error)
		abort();
	web_config_free(&config);
	return 0;
}
