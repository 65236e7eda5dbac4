/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cupti_nvtx.c - NVTX ranges give the copies made in them a label
 *
 * Own declarations of NVTX 3's injection; tests/test_cupti_nvtx.c injects this into a program that
 * is built with NVTX's own headers. A range whose name is listed gives its label to the copies that
 * its thread asks for, also in ranges within it that are not listed. The label's id is pushed to
 * CUPTI where it differs from that around it, so a range that changes nothing costs no call.
 */
#include <stddef.h>
#include <wchar.h>

#include "../atomic.h"
#include "cupti.h"
#include "cupti_label.h"

#define NAME_BYTES 256 /* of a wide name, as UTF-8; a longer one isn't listed */
#define LEVELS 64      /* deeper ranges are counted, and change nothing */

enum { /* NvtxExportTableID, NvtxCallbackModule, NvtxCallbackIdCore, NvtxCallbackIdCore2 */
       TABLE_CALLBACKS = 1,
       MODULE_CORE = 1,
       MODULE_CORE2 = 5,
       CORE_PUSH_EX = 8,
       CORE_PUSH_A = 9,
       CORE_PUSH_W = 10,
       CORE_POP = 11,
       CORE2_PUSH_EX = 4,
       CORE2_POP = 5,
       CORE2_REGISTER_A = 10,
       CORE2_REGISTER_W = 11,
       CORE2_DOMAIN_A = 12,
       CORE2_DOMAIN_W = 13,
};

struct export_callbacks { /* NvtxExportTableCallbacks */
	size_t bytes;
	int (*module_table)(int module, void (****table)(void), unsigned *count);
};

struct attributes { /* nvtxEventAttributes_t */
	uint16_t version, bytes;
	uint32_t category;
	int32_t color_type;
	uint32_t color;
	int32_t payload_type, reserved;
	uint64_t payload;
	int32_t message_type; /* 1: char, 2: wchar_t, 3: registered */
	const void *message;
};

struct level {
	const void *domain;
	uint16_t label, around; /* what is pushed in it, and was before */
	bool ended;		/* before a range within it, of another domain */
};

static _Thread_local struct {
	uint32_t depth; /* of all domains together */
	uint16_t pushed;
	struct level level[LEVELS];
} ranges;

/* Where a registered name's handle points: handle - base is its label's id. */
static const char handles[KVTAP_LABEL_OTHER + 1];

static uint32_t find_wide(const wchar_t *name)
{
	char text[NAME_BYTES];
	size_t used = 0;

	for (; *name && used < NAME_BYTES - 4; name++) {
		uint32_t c = (uint32_t)*name;
		int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

		text[used++] = (char)(more ? (uint8_t)(0xff00 >> (more + 1)) | c >> 6 * more : c);
		while (more--)
			text[used++] = (char)(0x80 | (c >> 6 * more & 0x3f));
	}
	text[used] = '\0';
	return *name ? KVTAP_LABEL_NONE : kvtap_label_find(text);
}

static uint32_t find(int32_t type, const void *message)
{
	if (!message)
		return KVTAP_LABEL_NONE;
	switch (type) {
	case 1:
		return kvtap_label_find(message);
	case 2:
		return find_wide(message);
	case 3:
		return (uint32_t)((const char *)message - handles);
	default:
		return KVTAP_LABEL_NONE;
	}
}

/* ---- a thread's ranges ---- */

static void change(uint16_t label, uint16_t around, bool enter)
{
	const struct kvtap_cupti *cupti = label == around ? NULL : kvtap_cupti_active();
	uint64_t id;

	if (cupti && enter && !cupti->push_id(KVTAP_CUPTI_EXTERNAL_CUSTOM2, label))
		ranges.pushed = label;
	else if (cupti && !enter && !cupti->pop_id(KVTAP_CUPTI_EXTERNAL_CUSTOM2, &id))
		ranges.pushed = around;
}

/* Returns: what NVTX asks for, the depth of the range in its domain; -1 is "not known". */
static int enter(const void *domain, uint32_t label)
{
	uint32_t depth = ranges.depth++;
	uint16_t around = ranges.pushed;

	if (depth >= LEVELS)
		return (int)depth;
	if (!label)
		label = around ? around : KVTAP_LABEL_OTHER;
	change((uint16_t)label, around, true);
	ranges.level[depth] =
		(struct level){ .domain = domain, .label = ranges.pushed, .around = around };
	return (int)depth;
}

/* CUPTI's ids are a stack: one that ended under another is taken off with it. */
static int leave(const void *domain)
{
	uint32_t depth = ranges.depth, i = depth;

	if (depth > LEVELS)
		return (int)--ranges.depth;
	while (i && (ranges.level[i - 1].ended || ranges.level[i - 1].domain != domain))
		i--;
	if (!i)
		return -1;
	ranges.level[i - 1].ended = true;
	for (; ranges.depth && ranges.level[ranges.depth - 1].ended; ranges.depth--) {
		const struct level *level = &ranges.level[ranges.depth - 1];

		change(level->label, level->around, false);
	}
	return (int)i - 1;
}

static int push_a(const char *name)
{
	return enter(NULL, find(1, name));
}

static int push_w(const wchar_t *name)
{
	return enter(NULL, find(2, name));
}

static int push_domain(const void *domain, const struct attributes *attributes)
{
	return enter(domain, attributes ? find(attributes->message_type, attributes->message)
					: KVTAP_LABEL_NONE);
}

static int push_ex(const struct attributes *attributes)
{
	return push_domain(NULL, attributes);
}

static int pop(void)
{
	return leave(NULL);
}

/* ---- names that are registered ahead, and domains ---- */

static const void *register_a(const void *domain, const char *name)
{
	(void)domain;
	return handles + find(1, name);
}

static const void *register_w(const void *domain, const wchar_t *name)
{
	(void)domain;
	return handles + find(2, name);
}

/* A handle is only compared, so it need not point to anything. */
static const void *make_domain(const void *name)
{
	static _Atomic(uint32_t) domains;

	(void)name;
	return (const void *)(uintptr_t)(kvtap_add_relaxed(&domains, 1) + 1); /* single copy */
}

/* ---- entry ---- */

struct patch {
	unsigned id;
	void (*function)(void);
};

#define PATCH(id, function)                                                                        \
	{                                                                                          \
		id, (void (*)(void))(function)                                                     \
	}

static bool patch(const struct export_callbacks *callbacks, int module, const struct patch *patches,
		  size_t patches_count)
{
	void (***table)(void);
	unsigned count;

	if (!callbacks->module_table(module, &table, &count))
		return false;
	for (size_t i = 0; i < patches_count; i++) {
		if (patches[i].id < count && table[patches[i].id])
			*table[patches[i].id] = patches[i].function;
	}
	return true;
}

int InitializeInjectionNvtx2(const void *(*export_table)(uint32_t id))
{
	static const struct patch core[] = {
		PATCH(CORE_PUSH_EX, push_ex),
		PATCH(CORE_PUSH_A, push_a),
		PATCH(CORE_PUSH_W, push_w),
		PATCH(CORE_POP, pop),
	};
	static const struct patch core2[] = {
		PATCH(CORE2_PUSH_EX, push_domain),   PATCH(CORE2_POP, leave),
		PATCH(CORE2_REGISTER_A, register_a), PATCH(CORE2_REGISTER_W, register_w),
		PATCH(CORE2_DOMAIN_A, make_domain),  PATCH(CORE2_DOMAIN_W, make_domain),
	};
	const struct export_callbacks *callbacks;

	if (kvtap_cupti_settings(NULL)->disabled || !kvtap_labels_count())
		return 0;
	callbacks = export_table(TABLE_CALLBACKS);
	if (!callbacks || callbacks->bytes < sizeof(*callbacks))
		return 0;
	return patch(callbacks, MODULE_CORE, core, sizeof(core) / sizeof(core[0])) &&
	       patch(callbacks, MODULE_CORE2, core2, sizeof(core2) / sizeof(core2[0]));
}
