/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
 *
 * The few things of the kernel that the programs use: bpf-helpers(7) by number, and the registers that uprobes see on
 * x86-64 (struct pt_regs of ptrace.h). No kernel headers, no BTF, no CO-RE: helper numbers and pt_regs are stable ABI.
 */
#ifndef DBW_KERNEL_H
#define DBW_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

struct pt_regs {
  u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss;
};

#define ARG1(ctx) ((ctx)->rdi)
#define ARG2(ctx) ((ctx)->rsi)
#define ARG3(ctx) ((ctx)->rdx)
#define ARG4(ctx) ((ctx)->rcx)
#define ARG5(ctx) ((ctx)->r8)
#define ARG6(ctx) ((ctx)->r9)
#define RESULT(ctx) ((ctx)->rax)
#define ADDRESS(ctx) ((ctx)->rip)

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define barrier_var(v) asm volatile("" : "+r"(v))

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static u64 (*const ktime_ns)(void) = (void *)5;
static u64 (*const current_pid_tgid)(void) = (void *)14;
static long (*const read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*const read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static void *(*const ring_reserve)(void *map, u64 size, u64 flags) = (void *)131;
static void (*const ring_submit)(void *record, u64 flags) = (void *)132;
static u64 (*const attach_cookie)(void *ctx) = (void *)174;

#define MAP_ANY 0
#define RING_NO_WAKEUP 1

/* Maps are created by the loader (src/witness/probe/object.ts has their definitions), and found by these symbols. */
#define MAP(name) SEC("maps") struct { u64 unused; } name

#endif
