/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_cupti.c - the injected library in programs that know nothing of it: their bytes, as scraped */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_cupti.h"
#include "support_gpu.h"
#include "test.h"

#define MIB (1 << 20)

/* Is there a GPU, and not only a driver; asked in a process of its own, as all that follow. */
static void ask(void)
{
	struct gpu gpu;

	gpu_open(&gpu);
}

static void run_injected(const char *const *command)
{
	int status;
	pid_t pid;

	gpu_test(ask);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		setenv("CUDA_INJECTION64_PATH", built_path("libkvtap-cupti.so"), 1);
		setenv("KVTAP_CUPTI_LOG", "/dev/stderr", 1);
		execvp(command[0], (char *const *)command);
		_exit(127);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

/* Of all samples of a family with a label direction. */
static double sum(const struct page *page, const char *family, const char *direction)
{
	char label[64];
	double total = 0;

	snprintf(label, sizeof(label), "direction=\"%s\"", direction);
	for (size_t i = 0; i < page->samples; i++)
		if (strncmp(page->sample[i].key, family, strlen(family)) == 0 &&
		    strstr(page->sample[i].key, label))
			total += atof(page->sample[i].value);
	return total;
}

TEST_TIMEOUT(gpu_cupti_sees_the_bytes_of_an_unmodified_program, 120)
{
	struct page *page;

	run_injected((const char *const[]){ built_path("tests/gpu_program"), NULL });
	page = page_of();
	CHECK_EQ(sum(page, "kvtap_cuda_copy_bytes_total{", "h2d"), 100 * MIB);
	CHECK_EQ(sum(page, "kvtap_cuda_copies_total{", "h2d"), 100);
	CHECK_EQ(sum(page, "kvtap_cuda_copy_bytes_total{", "d2h"), 100 * MIB);
	CHECK_EQ(sum(page, "kvtap_cuda_copies_total{", "d2h"), 50);
	page_free(page);
}

/* 64 MiB to the device; more than these may be copied by PyTorch itself. */
static const char torch_script[] = "import torch\n"
				   "x = torch.zeros(1 << 20, dtype=torch.uint8).pin_memory()\n"
				   "for i in range(64):\n"
				   "    y = x.to('cuda', non_blocking=True)\n"
				   "torch.cuda.synchronize()\n";

TEST_TIMEOUT(gpu_cupti_sees_the_bytes_of_pytorch, 240)
{
	const char *library_path = getenv("KVTAP_GPU_LIBRARY_PATH"); /* Python has its own */
	char *own_path = getenv("LD_LIBRARY_PATH");
	struct page *page;

	own_path = own_path ? strdup(own_path) : NULL;
	gpu_test(ask);
	if (library_path)
		setenv("LD_LIBRARY_PATH", library_path, 1);
	if (getenv("KVTAP_GPU_DRIVER"))
		SKIP("PyTorch takes no double");
	if (system("python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null"))
		SKIP("PyTorch with CUDA is not installed");
	run_injected((const char *const[]){ "python3", "-c", torch_script, NULL });
	if (own_path)
		setenv("LD_LIBRARY_PATH", own_path, 1);
	page = page_of();
	printf("gpu: PyTorch copied %.0f bytes to the device\n",
	       sum(page, "kvtap_cuda_copy_bytes_total{", "h2d"));
	CHECK(sum(page, "kvtap_cuda_copy_bytes_total{", "h2d") >= 64.0 * MIB);
	page_free(page);
}
