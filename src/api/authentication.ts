/**
 * Who asks: a bearer token of a login, an API key, or, on the control socket, whoever could open it. Every route needs
 * somebody, except those that say `open` in their config.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LOCAL_ADMIN, type Actor } from '../access/actor.ts';
import type { Logins } from '../access/logins.ts';
import { AppError } from '../base/errors.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answers without knowing who asks. */
    open?: boolean;
  }
  interface FastifyRequest {
    /** Set on every route that is not open. Use {@link actorOf}. */
    caller: Actor | null;
  }
}

const MAX_HEADER = 256;

export function installAuthentication(app: FastifyInstance, logins: Logins, localAdmin: boolean): void {
  app.decorateRequest('caller', null);
  app.addHook('onRequest', async (request) => {
    if (request.routeOptions.config.open === true || request.is404) return;
    const bearer = bearerOf(request);
    if (bearer === null && localAdmin && request.headers.authorization === undefined) {
      request.caller = LOCAL_ADMIN;
      return;
    }
    request.caller = bearer === null ? null : await logins.authenticate(bearer, addressOf(request));
    if (request.caller === null)
      throw new AppError(
        'denied',
        'API_LOGIN_REQUIRED',
        bearer === null
          ? 'log in with POST /api/v1/auth/login and send "Authorization: Bearer <token>", or use an API key'
          : 'the token or API key is not valid, or not any more; log in again',
      );
  });
}

/** Where a request comes from. A Unix socket's peers have no address. */
export function addressOf(request: FastifyRequest): string {
  const ip: string | undefined = request.ip;
  return ip ?? LOCAL_ADMIN.clientAddress;
}

/** The text after `Bearer `, or `null`. */
export function bearerOf(request: FastifyRequest): string | null {
  const header = request.headers.authorization ?? '';
  if (header.length > MAX_HEADER) return null;
  return /^Bearer +([^\s]+)$/i.exec(header)?.[1] ?? null;
}

export function actorOf(request: FastifyRequest): Actor {
  if (request.caller === null) throw new AppError('denied', 'API_LOGIN_REQUIRED', 'this needs a login');
  return request.caller;
}
