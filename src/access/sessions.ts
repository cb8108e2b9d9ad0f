/** Ending somebody's running session. */
import { AppError } from '../base/errors.ts';
import type { Uid } from '../base/ids.ts';
import { demand, may, type Actor } from './actor.ts';
import type { ServiceDeps } from './changes.ts';

export class SessionControl {
  readonly #deps: ServiceDeps;

  constructor(deps: ServiceDeps) {
    this.#deps = deps;
  }

  /** One's own session, or by role anybody's. It ends within a second. Others' sessions do not exist. */
  async kill(actor: Actor, sessionUid: Uid): Promise<void> {
    const session = await this.#deps.db
      .selectFrom('idx_sessions')
      .where('uid', '=', sessionUid)
      .select(['user_uid', 'user_name', 'database_name', 'closed_us'])
      .executeTakeFirst();
    const own = session !== undefined && session.user_uid === actor.uid;
    if (!session || (!own && !may(actor, 'audit.read')))
      throw new AppError('not-found', 'ACCESS_SESSION_UNKNOWN', 'there is no such session');
    if (!own) demand(actor, 'session.kill');
    if (session.closed_us !== null)
      throw new AppError('conflict', 'ACCESS_SESSION_ENDED', 'the session has ended already');
    await this.#deps.changes.record({
      actor,
      action: 'kill',
      objectKind: 'session',
      objectUid: sessionUid,
      objectName: `${session.user_name} → ${session.database_name}`,
    });
    this.#deps.changes.signal({ kind: 'kill', sessionUid, by: actor.name });
  }
}
