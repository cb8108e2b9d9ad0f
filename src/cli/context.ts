/** What every command is given: options that all have, the output, and the API of the node it is for. */
import type { Command } from 'commander';
import { ApiClient } from './client.ts';
import type { Io } from './io.ts';
import { findNode } from './locate.ts';
import { Output } from './output.ts';

export interface GlobalOptions {
  readonly json?: boolean;
  readonly dataDir?: string;
}

export class Context {
  readonly io: Io;
  readonly out: Output;
  readonly dataDir: string | undefined;
  /** What the process ends with when nothing is thrown. */
  exitCode = 0;
  #api: Promise<ApiClient> | null = null;

  constructor(io: Io, options: GlobalOptions) {
    this.io = io;
    this.out = new Output(io, options.json === true);
    this.dataDir = options.dataDir;
  }

  api(): Promise<ApiClient> {
    return (this.#api ??= findNode(this.io.env, this.dataDir).then((node) => new ApiClient(node)));
  }
}

export type Env = Readonly<Record<string, string | undefined>>;

/** The environment, as if `--data-dir` had been named there. */
export function environmentOf({ io, dataDir }: Context): Env {
  return dataDir === undefined ? io.env : { ...io.env, DBW_DATA_DIR: dataDir };
}

/** A command's work. `args` are its positional arguments as written. */
export type Work<Options> = (context: Context, options: Options, ...args: string[]) => Promise<void>;

/** What a command group needs to add its commands. */
export interface Commands {
  readonly program: Command;
  /** Makes a commander action of a command's work. */
  readonly action: <Options extends object = object>(
    work: Work<Options>,
  ) => (...parameters: readonly unknown[]) => Promise<void>;
}
