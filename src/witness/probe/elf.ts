/**
 * ELF files for 64-bit little-endian machines: what is needed of a server's binary (exported symbols, where a virtual
 * address lies in the file, build-id) and of our own BPF object (sections, symbols, relocations).
 *
 * System V ABI, "Object Files". Offsets used below:
 *
 *   Elf64_Ehdr: 16 e_type · 18 e_machine · 32 e_phoff · 40 e_shoff · 56 e_phnum · 60 e_shnum · 62 e_shstrndx
 *   Elf64_Phdr (56 bytes): 0 p_type · 4 p_flags · 8 p_offset · 16 p_vaddr · 32 p_filesz · 40 p_memsz
 *   Elf64_Shdr (64 bytes): 0 sh_name · 4 sh_type · 16 sh_addr · 24 sh_offset · 32 sh_size · 40 sh_link · 44 sh_info · 56 sh_entsize
 *   Elf64_Sym (24 bytes): 0 st_name · 4 st_info · 6 st_shndx · 8 st_value · 16 st_size
 *   Elf64_Rela (24 bytes): 0 r_offset · 8 r_info · 16 r_addend      Elf64_Rel (16 bytes): 0 r_offset · 8 r_info
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { AppError } from '../../base/errors.ts';

export interface ElfSection {
  readonly name: string;
  readonly type: number;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
}

export interface ElfSymbol {
  readonly name: string;
  /** Virtual address as linked, or offset in its section (object files). */
  readonly value: number;
  readonly size: number;
  /** 1 object, 2 function, 3 section. */
  readonly type: number;
  readonly section: number;
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
}

export const SHT = { progbits: 1, symtab: 2, rela: 4, rel: 9, dynsym: 11 } as const;
export const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
const NT_GNU_BUILD_ID = 3;
const R_X86_64_RELATIVE = 8;
/** No table of a database server comes near; whatever claims more is not read. */
const MAX_TABLE_BYTES = 256 * 1024 * 1024;

export class ElfFile {
  readonly path: string;
  readonly machine: number;
  /** Of the file, while it exists or is kept open by us. */
  readonly inode: bigint;
  readonly sections: readonly ElfSection[];
  /** Hexadecimal; empty without. */
  readonly buildId: string;
  readonly #fd: number;
  readonly #bytes: number;
  readonly #segments: readonly Segment[];
  #exported: Map<string, ElfSymbol> | null = null;

  /** @throws AppError `invalid` when it is no 64-bit little-endian ELF file; the system's error when it cannot be read. */
  constructor(path: string) {
    this.path = path;
    this.#fd = openSync(path, 'r');
    try {
      const facts = fstatSync(this.#fd, { bigint: true });
      this.#bytes = Number(facts.size);
      this.inode = facts.ino;
      const header = this.read(0, 64);
      if (header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
        throw new AppError('invalid', 'PROBE_NOT_ELF', `${path} is no 64-bit ELF file`);
      this.machine = header.readUInt16LE(18);
      this.#segments = this.#readSegments(u64(header, 32), header.readUInt16LE(56));
      this.sections = this.#readSections(u64(header, 40), header.readUInt16LE(60), header.readUInt16LE(62));
      this.buildId = this.#readBuildId();
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Whether the file has no name any more: it was replaced or removed. */
  get deleted(): boolean {
    return fstatSync(this.#fd).nlink === 0;
  }

  /** @throws AppError `invalid` when the file ends before. */
  read(offset: number, bytes: number): Buffer {
    if (bytes > MAX_TABLE_BYTES || offset < 0 || offset + bytes > this.#bytes)
      throw new AppError('invalid', 'PROBE_ELF_DAMAGED', `${this.path} ends before byte ${offset + bytes}`);
    const buffer = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; ) {
      const got = readSync(this.#fd, buffer, at, bytes - at, offset + at);
      if (got === 0)
        throw new AppError('invalid', 'PROBE_ELF_DAMAGED', `${this.path} shrank while it was read`);
      at += got;
    }
    return buffer;
  }

  /** Exported symbols (.dynsym), and those of .symtab where it was not stripped. */
  get exported(): ReadonlyMap<string, ElfSymbol> {
    if (this.#exported === null) {
      this.#exported = new Map();
      for (const type of [SHT.symtab, SHT.dynsym])
        for (const symbol of this.symbols(type))
          if (symbol.section !== 0) this.#exported.set(symbol.name, symbol);
    }
    return this.#exported;
  }

  symbols(type: number): ElfSymbol[] {
    const found: ElfSymbol[] = [];
    for (const section of this.sections) {
      if (section.type !== type) continue;
      const names = this.sections[section.link];
      const strings = this.read(names.offset, names.size);
      const table = this.read(section.offset, section.size);
      for (let at = 0; at + 24 <= table.length; at += 24)
        found.push({
          name: cString(strings, table.readUInt32LE(at)),
          type: table[at + 4] & 15,
          section: table.readUInt16LE(at + 6),
          value: u64(table, at + 8),
          size: u64(table, at + 16),
        });
    }
    return found;
  }

  section(name: string): ElfSection | undefined {
    return this.sections.find((section) => section.name === name);
  }

  /** Where the byte at a virtual address lies in the file; `null` when it is not from the file. */
  offsetOf(address: number): number | null {
    for (const segment of this.#segments)
      if (
        segment.type === PT_LOAD &&
        address >= segment.address &&
        address < segment.address + segment.fileBytes
      )
        return address - segment.address + segment.offset;
    return null;
  }

  /** The virtual address of the byte at `offset`; `null` when that is not loaded. */
  addressAt(offset: number): number | null {
    for (const segment of this.#segments)
      if (segment.type === PT_LOAD && offset >= segment.offset && offset < segment.offset + segment.fileBytes)
        return offset - segment.offset + segment.address;
    return null;
  }

  /** Machine code of an exported function, at most `bytes`; `null` when there is no such function. */
  code(name: string, bytes = 96): Buffer | null {
    const symbol = this.exported.get(name);
    const offset = symbol === undefined ? null : this.offsetOf(symbol.value);
    return offset === null ? null : this.read(offset, Math.min(bytes, this.#bytes - offset));
  }

  /** The first match of a pattern in the file, where `marker` (plain bytes) is part of it and at most 64 bytes behind its start. */
  find(marker: string, pattern: RegExp): RegExpExecArray | null {
    const step = 8 * 1024 * 1024;
    const overlap = 512;
    for (let offset = 0; offset < this.#bytes; offset += step - overlap) {
      const chunk = this.read(offset, Math.min(step, this.#bytes - offset));
      for (let at = chunk.indexOf(marker); at >= 0; at = chunk.indexOf(marker, at + 1)) {
        const match = pattern.exec(chunk.toString('latin1', Math.max(0, at - 64), at + 200));
        if (match !== null) return match;
      }
    }
    return null;
  }

  /** Pointers of the data as linked: address → what it points to, for position-independent binaries (R_X86_64_RELATIVE). */
  relativePointers(): Map<number, number> {
    const pointers = new Map<number, number>();
    for (const section of this.sections) {
      if (section.type !== SHT.rela) continue;
      const table = this.read(section.offset, section.size);
      for (let at = 0; at + 24 <= table.length; at += 24)
        if (table.readUInt32LE(at + 8) === R_X86_64_RELATIVE)
          pointers.set(u64(table, at), u64(table, at + 16));
    }
    return pointers;
  }

  #readSegments(offset: number, count: number): Segment[] {
    const table = this.read(offset, count * 56);
    return Array.from({ length: count }, (_, i) => ({
      type: table.readUInt32LE(i * 56),
      offset: u64(table, i * 56 + 8),
      address: u64(table, i * 56 + 16),
      fileBytes: u64(table, i * 56 + 32),
    }));
  }

  #readSections(offset: number, count: number, namesIndex: number): ElfSection[] {
    if (count === 0) return [];
    const table = this.read(offset, count * 64);
    const namesAt = namesIndex * 64;
    const names = this.read(u64(table, namesAt + 24), u64(table, namesAt + 32));
    return Array.from({ length: count }, (_, i) => ({
      name: cString(names, table.readUInt32LE(i * 64)),
      type: table.readUInt32LE(i * 64 + 4),
      address: u64(table, i * 64 + 16),
      offset: u64(table, i * 64 + 24),
      size: u64(table, i * 64 + 32),
      link: table.readUInt32LE(i * 64 + 40),
      info: table.readUInt32LE(i * 64 + 44),
    }));
  }

  #readBuildId(): string {
    for (const segment of this.#segments) {
      if (segment.type !== PT_NOTE || segment.fileBytes > 65_536) continue;
      const notes = this.read(segment.offset, segment.fileBytes);
      for (let at = 0; at + 12 <= notes.length; ) {
        const nameBytes = notes.readUInt32LE(at);
        const bytes = notes.readUInt32LE(at + 4);
        const body = at + 12 + ((nameBytes + 3) & ~3);
        if (
          notes.readUInt32LE(at + 8) === NT_GNU_BUILD_ID &&
          notes.toString('latin1', at + 12, at + 15) === 'GNU'
        )
          return notes.toString('hex', body, body + bytes);
        at = body + ((bytes + 3) & ~3);
      }
    }
    return '';
  }
}

export function u64(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 0x1_0000_0000;
}

/** NUL-terminated, or to the end. */
export function cString(buffer: Buffer, at: number, end = buffer.length): string {
  const zero = buffer.indexOf(0, at);
  return buffer.toString('utf8', at, zero < 0 || zero > end ? end : zero);
}
