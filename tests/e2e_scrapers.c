/* SPDX-License-Identifier: Apache-2.0 */
/*
 * e2e_scrapers.c - scrape from many connections at once, in three formats, and keep the answers
 *
 *	e2e_scrapers PORT SCRAPERS ANSWERS FOLDER
 *
 * Each scraper has a thread, a connection, a format and a file in the folder, named by its number.
 * An answer there is a line "BYTES CONTENT-TYPE" and its body. Whoever checks them is no part of
 * this. Not a test: tests/e2e_cut.sh runs it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../bench/scraper.h"
#include "test.h"

struct thread {
	struct scraper scraper;
	long answers;
	char path[256];
	pthread_t thread;
};

static void *scrape(void *argument)
{
	struct thread *thread = argument;
	FILE *file = fopen(thread->path, "we");
	struct answer answer;

	CHECK(file);
	for (long i = 0; i < thread->answers; i++) {
		CHECK(scraper_get(&thread->scraper, &answer, true));
		CHECK_EQ(answer.status, 200);
		fprintf(file, "%zu %s\n", answer.bytes, answer.type);
		CHECK_EQ(fwrite(answer.body, 1, answer.bytes, file), answer.bytes);
		free(answer.body);
	}
	CHECK_EQ(fclose(file), 0);
	scraper_close(&thread->scraper);
	return NULL;
}

int main(int argc, char **argv)
{
	int scrapers = argc == 5 ? atoi(argv[2]) : 0;
	struct thread *thread = calloc((size_t)scrapers + 1, sizeof(*thread));

	if (scrapers < 1 || !thread) {
		fprintf(stderr, "usage: e2e_scrapers PORT SCRAPERS ANSWERS FOLDER\n");
		return 2;
	}
	for (int i = 0; i < scrapers; i++) {
		thread[i].scraper = (struct scraper){ .port = (uint16_t)atoi(argv[1]),
						      .format = (enum format)(i % FORMATS) };
		thread[i].answers = (atol(argv[3]) + i) / scrapers;
		snprintf(thread[i].path, sizeof(thread[i].path), "%s/%d", argv[4], i);
		CHECK_EQ(pthread_create(&thread[i].thread, NULL, scrape, &thread[i]), 0);
	}
	for (int i = 0; i < scrapers; i++)
		CHECK_EQ(pthread_join(thread[i].thread, NULL), 0);
	free(thread);
	return 0;
}
