/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.c - SipHash-1-3 (Aumasson and Bernstein), keyed once a process
 *
 * Label values are chosen by workers. With a key that they can't know, no choice of values makes
 * one long chain out of a table.
 */
#include "hash.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static uint64_t rotate(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static void round_once(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static uint64_t key[2];

static void make_key(void)
{
	if (getrandom(key, sizeof(key), GRND_NONBLOCK) != sizeof(key))
		key[0] ^= (uint64_t)(uintptr_t)&key; /* early at boot: the address space's luck */
}

unsigned long hash_bytes(const void *data, size_t bytes)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_key); /* workers' labels and clients' addresses: several threads */
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
			  key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u };
	const unsigned char *at = data;

	for (size_t left = bytes;; left -= 8, at += 8) {
		uint64_t word = left < 8 ? (uint64_t)bytes << 56 : 0;

		if (left)
			memcpy(&word, at, left < 8 ? left : 8);
		v[3] ^= word;
		round_once(v);
		v[0] ^= word;
		if (left < 8)
			break;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		round_once(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
