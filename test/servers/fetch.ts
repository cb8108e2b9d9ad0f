/**
 * Fetches the servers that no package of the machine's own Debian has, before the tests look for them:
 * `node test/servers/fetch.ts [name…]`. What cannot be fetched is said and left out; the tests that need it say so too
 * (`isMissing`): skipped, or in CI failed.
 */
import { messageOf } from '../../src/base/errors.ts';
import { FETCHED, fetchServer, isFetched } from './mysql-binaries.ts';

const asked = process.argv.slice(2);
for (const name of FETCHED) {
  if (isFetched(name) || (asked.length > 0 && !asked.includes(name))) continue;
  process.stderr.write(`fetching ${name}\n`);
  try {
    await fetchServer(name);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
  }
}
