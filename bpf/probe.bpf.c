/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
 *
 * The kernel side of the probe: programs for uprobes on database servers, one object file.
 *
 *   server's thread ── uprobe ─▶ program ── one record ─▶ ring buffer ─▶ src/witness/probe
 *
 * Invariants
 *  1. Only registers and the memory of the traced process are read, by helpers that cannot fault. Nothing is written
 *     there, and no program waits for anything.
 *  2. A record that finds no room in the ring is counted in `losses`. What the reader misses is always known.
 *  3. State is per thread, and one thread is served by one attachment only.
 *
 * The kernel demands a GPL-compatible licence of programs that use these helpers: this folder is also under GPL-2.0.
 */
#include "kernel.h"
#include "records.h"
#include "common.h"
#include "postgres.h"
#include "mysql.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
