/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cupti_nvtx.c - copies are labelled by the NVTX ranges of a program built with NVTX's headers
 *
 * NVTX loads the library by NVTX_INJECTION64_PATH at its first call, as it does in any program.
 */
#include "support_cupti.h"

#include <pthread.h>
#include <stdlib.h>

#include "support_segment.h"
#include "test.h"

#if !defined(KVTAP_NO_CUDA) && __has_include(<nvtx3/nvToolsExt.h>)
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include <nvtx3/nvToolsExt.h>

static const struct double_cupti *cupti;
static struct page *page;

static void copies(int count)
{
	while (count--)
		cupti->copy(cupti_a_copy(cupti));
}

static void inject(void)
{
	cupti = cupti_load();
	cupti_inject();
}

static void run(const char *labels, void (*program)(void))
{
	struct program child;

	CHECK_EQ(setenv("NVTX_INJECTION64_PATH", built_path("libkvtap-cupti.so"), 1), 0);
	if (labels)
		CHECK_EQ(setenv("KVTAP_CUPTI_LABELS", labels, 1), 0);
	program_start(&child, program);
	program_end(&child);
	page = page_of();
}

#define OF(label)                                                                                  \
	page_number(page, "kvtap_cuda_copies_total{device=\"0\",direction=\"h2d\"," label          \
			  "memory=\"pinned\",stream=\"7\"}")

static void ranges(void)
{
	inject();
	copies(1);
	nvtxRangePushA("load");
	copies(2);
	nvtxRangePushA("not listed");
	copies(4);
	nvtxRangePushA("store");
	copies(8);
	nvtxRangePop();
	nvtxRangePop();
	copies(16);
	nvtxRangePop();
	copies(32);
	nvtxRangePushA("not listed");
	copies(64);
	nvtxRangePop();
	CHECK_EQ(cupti->violations(), 0);
}

TEST(cupti_nvtx_ranges_label_the_copies_made_in_them)
{
	run("load,store", ranges);
	CHECK_EQ(OF(""), 1 + 32);
	CHECK_EQ(OF("label=\"load\","), 2 + 4 + 16);
	CHECK_EQ(OF("label=\"store\","), 8);
	CHECK_EQ(OF("label=\"other\","), 64);
	page_free(page);
}

static nvtxEventAttributes_t with(nvtxMessageType_t type, nvtxMessageValue_t message)
{
	return (nvtxEventAttributes_t){ .version = NVTX_VERSION,
					.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE,
					.messageType = (int32_t)type,
					.message = message };
}

/* Of two domains, which end in another order than that they began in. */
static void other_ranges(void)
{
	inject();
	nvtxDomainHandle_t nixl = nvtxDomainCreateA("NIXL");
	nvtxStringHandle_t name = nvtxDomainRegisterStringA(nixl, "load");
	nvtxEventAttributes_t load =
		with(NVTX_MESSAGE_TYPE_REGISTERED, (nvtxMessageValue_t){ .registered = name });
	nvtxEventAttributes_t store =
		with(NVTX_MESSAGE_TYPE_UNICODE, (nvtxMessageValue_t){ .unicode = L"st\u00f6re" });

	nvtxDomainRangePushEx(nixl, &load);
	copies(1);
	nvtxRangePushEx(&store);
	copies(2);
	nvtxDomainRangePop(nixl);
	copies(4);
	nvtxRangePop();
	copies(8);
	nvtxRangePushW(L"load");
	copies(16);
	nvtxRangePop();
	CHECK_EQ(cupti->violations(), 0);
}

TEST(cupti_nvtx_domains_registered_and_wide_names_are_known)
{
	run("load,st\u00f6re", other_ranges);
	CHECK_EQ(OF("label=\"load\","), 1 + 16);
	CHECK_EQ(OF("label=\"st\u00f6re\","), 2 + 4);
	CHECK_EQ(OF(""), 8);
	page_free(page);
}

static void *copy_there(void *arg)
{
	copies(2);
	return arg;
}

static void two_threads(void)
{
	pthread_t other;

	inject();
	nvtxRangePushA("load");
	CHECK_EQ(pthread_create(&other, NULL, copy_there, NULL), 0);
	CHECK_EQ(pthread_join(other, NULL), 0);
	copies(1);
	nvtxRangePop();
}

TEST(cupti_nvtx_ranges_are_their_threads_own)
{
	run("load", two_threads);
	CHECK_EQ(OF("label=\"load\","), 1);
	CHECK_EQ(OF(""), 2);
	page_free(page);
}

static void a_late_label(void)
{
	struct double_copy copy;

	inject();
	copy = cupti_a_copy(cupti);
	copy.label_late = true;
	nvtxRangePushA("load");
	cupti->copy(copy);
	copies(1);
	nvtxRangePop();
}

TEST(cupti_nvtx_label_that_comes_after_its_copy_labels_no_other)
{
	run("load", a_late_label);
	CHECK_EQ(OF("label=\"load\","), 1);
	CHECK_EQ(OF(""), 1);
	page_free(page);
}

static void deep_ranges(void)
{
	inject();
	nvtxRangePushA("load");
	for (int i = 0; i < 1000; i++)
		nvtxRangePushA("store");
	copies(1);
	for (int i = 0; i < 1000; i++)
		nvtxRangePop();
	copies(2);
	nvtxRangePop();
	CHECK(nvtxRangePop() < 0);
	copies(4);
}

TEST(cupti_nvtx_ranges_too_deep_change_nothing)
{
	run("load,store", deep_ranges);
	CHECK_EQ(OF("label=\"store\","), 1);
	CHECK_EQ(OF("label=\"load\","), 2);
	CHECK_EQ(OF(""), 4);
	page_free(page);
}

static void unlisted(void)
{
	inject();
	nvtxRangePushA("load");
	copies(1);
	nvtxRangePop();
	CHECK_EQ(cupti->calls("cuptiActivityPushExternalCorrelationId"), 0);
}

TEST(cupti_nvtx_is_left_alone_when_no_name_is_listed)
{
	run(NULL, unlisted);
	CHECK_EQ(OF(""), 1);
	page_free(page);
}
#else
TEST(cupti_nvtx_ranges_label_the_copies_made_in_them)
{
	SKIP("nvtx3/nvToolsExt.h is not there");
}
#endif
