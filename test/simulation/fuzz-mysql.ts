/**
 * Fuzzes the MySQL codec: mutated golden traces and random bytes may give nothing but AppErrors, in bounded memory.
 *
 *   node test/simulation/fuzz-mysql.ts --seconds 600 [--seed N]
 */
import { Fuzzer } from '../integration/wire-mysql/fuzz.ts';
import { fuzzCommand } from './fuzz.ts';

process.exitCode = await fuzzCommand('test/simulation/fuzz-mysql.ts', new Fuzzer());
