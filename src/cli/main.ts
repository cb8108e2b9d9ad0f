/**
 * The `dbwitness` command. It is a client of a running node, except for what needs none:
 *
 *   dbwitness up, demo                    this process is the node (src/app), until a signal
 *   dbwitness verify, verify-proof        files and a public key, nothing else
 *   everything else ──HTTP──▶ control socket in the data folder (mode 0600)  │  REST API with an API key
 *                                  who may open it is the machine's administrator
 *
 * Invariants
 *  1. Results go to standard output, everything else to standard error; `--json` prints one object per line.
 *  2. Recorded text never reaches a terminal with anything in it that a terminal obeys (`safe-text.ts`).
 *  3. The exit code says what happened (`exit-codes.ts`), and a failure says what to do.
 *  4. A secret is never an argument: other users of the machine could read it in the list of processes.
 */
import { processIo } from './io.ts';
import { runCli } from './run.ts';

process.exitCode = await runCli(process.argv.slice(2), processIo());
