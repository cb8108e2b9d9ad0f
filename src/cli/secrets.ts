/** Where a command gets a password from: never from its arguments. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { AppError, systemErrorCode } from '../base/errors.ts';
import { usage } from './amounts.ts';
import type { Io } from './io.ts';

export interface SecretOptions {
  readonly passwordStdin?: boolean;
  readonly passwordFile?: string;
}

/** `null` when neither option was given. */
export async function readPassword(io: Io, options: SecretOptions, prompt: string): Promise<string | null> {
  const { passwordStdin, passwordFile } = options;
  if (passwordStdin === true && passwordFile !== undefined)
    throw usage('give --password-stdin or --password-file, not both');
  if (passwordStdin === true) return io.readSecret(prompt);
  if (passwordFile === undefined) return null;
  const [line = ''] = (await readText(passwordFile)).split(/\r?\n/, 1);
  if (line === '') throw usage(`--password-file: ${passwordFile} is empty`);
  return line;
}

/** 118 bits or so; letters and digits only, so that a double click selects it. */
export function generatePassword(): string {
  return randomBytes(15).toString('base64').replaceAll(/[+/]/g, 'x');
}

/** A text file that was named on the command line. Rejects with `not-found` or `denied`. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new AppError('not-found', 'CLI_NO_FILE', `there is no file ${path}`, { cause: error });
    throw new AppError('denied', 'CLI_FILE_UNREADABLE', `${path} cannot be read (${code ?? 'unknown'})`, {
      cause: error,
    });
  }
}
