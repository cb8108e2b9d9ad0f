/** People name users and databases; the API wants uids. */
import type { Database } from '../api/contract/databases.ts';
import type { User } from '../api/contract/users.ts';
import { AppError } from '../base/errors.ts';
import { isUid } from '../base/ids.ts';
import type { ApiClient } from './client.ts';

/** Rejects with `not-found`. */
export async function findUser(api: ApiClient, name: string): Promise<User> {
  if (isUid(name)) return api.get<User>(`/users/${name}`);
  const wanted = name.normalize('NFC').toLowerCase();
  return find<User>(
    api,
    '/users',
    (user) => user.username === wanted,
    `user named ${name}; see "dbwitness user ls"`,
  );
}

/** Rejects with `not-found`. */
export async function findDatabase(api: ApiClient, name: string): Promise<Database> {
  if (isUid(name)) return api.get<Database>(`/databases/${name}`);
  return find<Database>(
    api,
    '/databases',
    (database) => database.name === name,
    `database named ${name}; see "dbwitness database ls"`,
  );
}

async function find<T>(api: ApiClient, path: string, fits: (item: T) => boolean, what: string): Promise<T> {
  for await (const page of api.pages<T>(path)) {
    const found = page.find(fits);
    if (found !== undefined) return found;
  }
  throw new AppError('not-found', 'CLI_UNKNOWN_NAME', `there is no ${what}`);
}
