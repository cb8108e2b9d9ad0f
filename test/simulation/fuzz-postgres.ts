/**
 * Fuzzes the PostgreSQL codec: mutated golden traces and random bytes may give nothing but AppErrors, in bounded memory.
 *
 *   node test/simulation/fuzz-postgres.ts --seconds 600 [--seed N]
 */
import { Fuzzer } from '../integration/wire-postgres/fuzz.ts';
import { fuzzCommand } from './fuzz.ts';

process.exitCode = await fuzzCommand('test/simulation/fuzz-postgres.ts', new Fuzzer());
