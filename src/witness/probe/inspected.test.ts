/** HOSTILE 82: symbols that are no plain functions. Small programs, compiled here. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isMissing } from '../../../test/servers/index.ts';
import { ElfFile } from './elf.ts';
import { placeOf } from './inspected.ts';

describe.skipIf(isMissing('clang'))('where a function begins', () => {
  const inProgram = (source: string, look: (elf: ElfFile) => void): void => {
    const folder = mkdtempSync(join(tmpdir(), 'dbw-elf-'));
    try {
      writeFileSync(join(folder, 'a.c'), `${source}\nint main(void) { return 0; }\n`);
      execFileSync('clang', ['-O1', '-rdynamic', '-o', join(folder, 'a'), join(folder, 'a.c')]);
      const elf = new ElfFile(join(folder, 'a'));
      look(elf);
      elf.close();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };

  it('follows a symbol that is only a jump to where the work is done', () => {
    const source = `
      __attribute__((noinline)) int real(int n) { __asm__ volatile("" ::: "memory"); return n + 1; }
      __attribute__((naked)) void trampoline(void) { __asm__("jmp real"); }
      __attribute__((naked)) void again(void) { __asm__("endbr64; jmp trampoline"); }
      __attribute__((naked)) void forever(void) { __asm__("jmp forever"); }`;
    inProgram(source, (elf) => {
      const real = elf.exported.get('real')?.value;
      expect(placeOf(elf, 'trampoline')?.address).toBe(real);
      expect(placeOf(elf, 'again')?.address).toBe(real);
      expect(placeOf(elf, 'forever')).toBeNull();
    });
  });

  it('skips endbr64, and refuses resolvers, variables and what is not there', () => {
    const source = `
      int variable = 7;
      __attribute__((naked)) void marked(void) { __asm__("endbr64; ret"); }
      static int impl(void) { return 1; }
      static void *resolve(void) { return impl; }
      int chosen(void) __attribute__((ifunc("resolve")));`;
    inProgram(source, (elf) => {
      const marked = elf.exported.get('marked')?.value ?? 0;
      expect(placeOf(elf, 'marked')?.address).toBe(marked + 4);
      expect(placeOf(elf, 'chosen')).toBeNull();
      expect(placeOf(elf, 'variable')).toBeNull();
      expect(placeOf(elf, 'nothing')).toBeNull();
    });
  });
});
