/**
 * What x86-64 machine code of tiny exported functions says about private layouts: where in a structure an accessor
 * reads, and where a static variable lies. Intel SDM volume 2, "Instruction Format". Only the few encodings that
 * compilers use for such functions are known; anything else gives `null`, and the field is then left out.
 */

const ENDBR64 = 0xf30f1efa;

/** Bytes of `endbr64` at a function's start. It is not emulated by uprobes, and costs a single step where one sits on it. */
export function entrySkip(code: Buffer): number {
  return code.length >= 4 && code.readUInt32BE(0) === ENDBR64 ? 4 : 0;
}

/**
 * The virtual address that `mov disp32(%rip),%eax|%rax` of a getter reads, or compares to 0 first (`cmpq $0,disp32(%rip)`);
 * `address` is where the code lies.
 */
export function globalRead(code: Buffer, address: number): number | null {
  let at = prologue(code);
  if (code[at] === 0x48 && code[at + 1] === 0x83 && code[at + 2] === 0x3d && code[at + 7] === 0)
    return address + at + 8 + code.readInt32LE(at + 3);
  const wide = code[at] === 0x48;
  if (wide) at++;
  // 8B /r with mod 00, rm 101: RIP-relative; reg 0 is (r|e)ax
  if (code[at] !== 0x8b || code[at + 1] !== 0x05) return null;
  return address + at + 6 + code.readInt32LE(at + 2);
}

/**
 * Offsets on the way from the first argument to what an accessor returns: `[8]` for `return this->field` (or its
 * address), `[0x25f8, 8]` for `return this->pointer->field`. Checks for NULL on the way are skipped.
 */
export function accessorPath(code: Buffer): number[] | null {
  const path: number[] = [];
  let at = prologue(code);
  let base = RDI;
  for (let n = 0; n < 12 && at + 8 <= code.length; n++) {
    const found = load(code, at, base);
    if (found !== null) {
      path.push(found.displacement);
      base = RAX;
      at += found.bytes;
      continue;
    }
    const skipped = skippable(code, at);
    if (skipped === 0) break;
    at += skipped;
  }
  return path.length === 0 ? null : path;
}

/** The offset that a setter (`mov %rsi,disp(%rdi)`, maybe after `add %rsi,…` to a total) writes. */
export function setterOffset(code: Buffer): number | null {
  let at = prologue(code);
  if (code[at] === 0x48 && code[at + 1] === 0x01 && code[at + 2] === 0xb7) at += 7;
  if (code[at] !== 0x48 || code[at + 1] !== 0x89) return null;
  if (code[at + 2] === 0xb7) return code.readInt32LE(at + 3);
  return code[at + 2] === 0x77 ? code.readInt8(at + 3) : null;
}

/** The first `lea disp32(%rdi),…`: the member whose address a longer function takes first. */
export function firstAddressTaken(code: Buffer): number | null {
  return scan(
    code,
    (at) => (code[at] & 0xfb) === 0x48 && code[at + 1] === 0x8d && (code[at + 2] & 0xc7) === 0x87,
  );
}

/** The `mov disp32(%rdi),%rax` of a function that does something else before. */
export function firstLoadedPointer(code: Buffer): number | null {
  return scan(code, (at) => code[at] === 0x48 && code[at + 1] === 0x8b && code[at + 2] === 0x87);
}

/** The first `movq $0,disp32(…)`: the member that a function clears first. */
export function firstCleared(code: Buffer): number | null {
  for (let at = 0; at + 12 <= code.length; at++) {
    // REX.W C7 /0 with mod 10; rm 100 (a base of %rsp or %r12) has a SIB byte.
    if ((code[at] & 0xf8) !== 0x48 || code[at + 1] !== 0xc7 || (code[at + 2] & 0xf8) !== 0x80) continue;
    const displacement = at + ((code[at + 2] & 7) === 4 ? 4 : 3);
    if (code.readInt32LE(displacement + 4) === 0) return code.readInt32LE(displacement);
  }
  return null;
}

/** The first `cmpq $0,disp32(…)`: the pointer that a function looks at first. */
export function firstComparedToNull(code: Buffer): number | null {
  for (let at = 0; at + 8 <= code.length; at++)
    // REX.W 83 /7 ib with mod 10; rm 100 would have a SIB byte
    if (
      code[at] === 0x48 &&
      code[at + 1] === 0x83 &&
      (code[at + 2] & 0xf8) === 0xb8 &&
      (code[at + 2] & 7) !== 4 &&
      code[at + 7] === 0
    )
      return code.readInt32LE(at + 3);
  return null;
}

/** `mov disp8(%rdi),%rax; add $imm32,%rax; ret`: the member of another structure that a getter returns the address of. */
export function memberBehindPointer(code: Buffer): number | null {
  const at = prologue(code);
  if (code[at] !== 0x48 || code[at + 1] !== 0x8b || code[at + 2] !== 0x47) return null;
  return code[at + 4] === 0x48 && code[at + 5] === 0x05 ? code.readInt32LE(at + 6) : null;
}

/** Of a call with a member as its sixth or a stacked last argument: `push disp32(%rdi)`, else `mov disp32(%rdi),%r9`. */
export function lastArgumentMember(code: Buffer): number | null {
  for (let at = 0; at + 7 <= code.length; at++)
    if (code[at] === 0xff && code[at + 1] === 0xb7) return code.readInt32LE(at + 2);
  return scan(code, (at) => code[at] === 0x4c && code[at + 1] === 0x8b && code[at + 2] === 0x8f);
}

/** Where `call rel32` instructions of a code, which lies at `address`, lead to `target`: offsets in the code. */
export function callsTo(code: Buffer, address: number, target: number): number[] {
  const found: number[] = [];
  for (let at = code.indexOf(0xe8); at >= 0 && at + 5 <= code.length; at = code.indexOf(0xe8, at + 1))
    if (address + at + 5 + code.readInt32LE(at + 1) === target) found.push(at);
  return found;
}

/** Whether `mov $value,%edi`, the first argument, stands right before `at`. */
export function setsFirstArgument(code: Buffer, at: number, value: number): boolean {
  return at >= 5 && code[at - 5] === 0xbf && code.readUInt32LE(at - 4) === value;
}

/** A local variable, as `lea disp(%rsp|%rbp),%rdi` at most 16 bytes before a call at `at` makes it the first argument. */
export function localArgument(
  code: Buffer,
  at: number,
): { base: 'rsp' | 'rbp'; displacement: number } | null {
  for (let from = at - 4; from >= Math.max(0, at - 16); from--) {
    if (code[from] !== 0x48 || code[from + 1] !== 0x8d) continue;
    // ModRM: mod 01 or 10 (8 or 32 bits), reg 111 (%rdi), rm 101 (%rbp) or 100 with the SIB byte of a bare %rsp
    const wide = (code[from + 2] & 0xc0) === 0x80;
    const [mod, rm] = [code[from + 2] & 0xf8, code[from + 2] & 7];
    if (mod !== (wide ? 0xb8 : 0x78)) continue;
    const base = rm === 5 ? 'rbp' : rm === 4 && code[from + 3] === 0x24 ? 'rsp' : null;
    if (base === null) continue;
    const disp = from + (base === 'rbp' ? 3 : 4);
    if (disp + (wide ? 4 : 1) > at) continue;
    return { base, displacement: wide ? code.readInt32LE(disp) : code.readInt8(disp) };
  }
  return null;
}

/** The 32-bit displacement of the first instruction that matches, whose opcode has three bytes with REX and ModRM. */
function scan(code: Buffer, matches: (at: number) => boolean): number | null {
  for (let at = 0; at + 11 <= code.length; at++) if (matches(at)) return code.readInt32LE(at + 3);
  return null;
}

const RAX = 0;
const RDI = 7;

/** endbr64, push %rbp, mov %rsp,%rbp. */
function prologue(code: Buffer): number {
  let at = entrySkip(code);
  if (code[at] === 0x55) at++;
  if (code[at] === 0x48 && code[at + 1] === 0x89 && code[at + 2] === 0xe5) at += 3;
  return at;
}

/** `mov|lea disp(base),%rax` in its 64- and 32-bit forms. */
function load(code: Buffer, start: number, base: number): { displacement: number; bytes: number } | null {
  let at = start;
  if (code[at] === 0x48) at++;
  const opcode = code[at];
  if (opcode !== 0x8b && opcode !== 0x8d) return null;
  const modrm = code[at + 1];
  if ((modrm & 0x38) !== 0) return null; // another register than rax
  if ((modrm & 7) !== base) return null;
  const bytes = at - start;
  if (modrm >>> 6 === 0) return { displacement: 0, bytes: bytes + 2 };
  if (modrm >>> 6 === 1) return { displacement: code.readInt8(at + 2), bytes: bytes + 3 };
  return modrm >>> 6 === 2 ? { displacement: code.readInt32LE(at + 2), bytes: bytes + 6 } : null;
}

/** `test %rax,%rax`, `test %rdi,%rdi`, and short conditional jumps over nothing that matters. */
function skippable(code: Buffer, at: number): number {
  if (code[at] === 0x48 && code[at + 1] === 0x85) return 3;
  return code[at] === 0x74 || code[at] === 0x75 ? 2 : 0;
}
