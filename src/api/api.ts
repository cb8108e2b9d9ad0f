/**
 * The REST API, `/api/v1`: the control plane and everything that was recorded, for the CLI, the web UI and programs.
 *
 * ```text
 *   request ─▶ authentication ─▶ schema (TypeBox) ─▶ route ─▶ access/ services (who may, journal first) ─▶ store
 *                 401                 400               │
 *                                                       └──▶ store/queries, journal reader (sessions, statements, proofs)
 *   every failure ─▶ problem+json (RFC 9457)
 * ```
 *
 * Invariants
 * 1. A route is closed unless it says `open`; the services decide what the caller may, so a route cannot forget it.
 * 2. One schema per route checks, types and documents it (`contract/`, importable by a web UI). Unknown fields are refused.
 * 3. What is sent is what the response's schema names; secrets have no name there.
 * 4. Bodies are at most 1 MiB and must arrive in time.
 *
 * The same routes are served on the control socket with `localAdmin`: whoever can open it (mode 0600, made by `app/`)
 * is the machine's administrator, named `local` in the journal.
 */
import Fastify, { LogController, type FastifyInstance } from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { installAuthentication } from './authentication.ts';
import { apiDefaults, type ApiDeps } from './deps.ts';
import { installOpenapi, openapiRoute } from './openapi.ts';
import { answerClientError, installProblems, methodGuard } from './problems.ts';
import { authRoutes } from './routes/auth.ts';
import { databaseRoutes } from './routes/databases.ts';
import { eventRoutes } from './routes/events.ts';
import { grantRoutes } from './routes/grants.ts';
import { healthRoutes } from './routes/health.ts';
import { indexRoutes } from './routes/index.ts';
import { journalRoutes } from './routes/journal.ts';
import { keyRoutes } from './routes/keys.ts';
import { sessionRoutes } from './routes/sessions.ts';
import { statementRoutes } from './routes/statements.ts';
import { userRoutes } from './routes/users.ts';
import { validatorCompiler } from './validation.ts';

/** An instance that is composed but does not listen: call `listen` for TCP or for a socket's path, then `close`. */
export async function createApi(deps: ApiDeps): Promise<FastifyInstance> {
  const options = { ...apiDefaults, ...deps.options };
  const app = Fastify({
    ...(deps.logger === null ? { logger: false } : { loggerInstance: deps.logger }),
    // Addresses of requests may hold SQL that is searched for.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.maxBodyBytes,
    requestTimeout: options.requestTimeoutMs,
    // Node looks for late requests only every 30 s unless told.
    http: {
      connectionsCheckingInterval: Math.min(1_000, options.requestTimeoutMs),
      headersTimeout: options.requestTimeoutMs,
    },
    clientErrorHandler: answerClientError,
    forceCloseConnections: 'idle',
    trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
    routerOptions: { maxParamLength: 200 },
  });
  app.setValidatorCompiler(validatorCompiler);
  installProblems(app);
  installAuthentication(app, deps.access.logins, options.localAdmin);
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
  });
  await app.register(async (root) => {
    root.addHook('onRoute', (route) => {
      if (route.url.startsWith('/api/docs')) route.config = { ...route.config, open: true };
    });
    await installOpenapi(root, deps.version);
    const guard = methodGuard(root);
    openapiRoute(root);
    healthRoutes(root.withTypeProvider<TypeBoxTypeProvider>(), deps);
    await root.register(
      (scope, _options, done) => {
        const api = scope.withTypeProvider<TypeBoxTypeProvider>();
        authRoutes(api, deps.access);
        userRoutes(api, deps.access);
        databaseRoutes(api, deps.access);
        grantRoutes(api, deps.access);
        keyRoutes(api, deps.access);
        sessionRoutes(api, deps);
        statementRoutes(api, deps);
        eventRoutes(api, deps);
        journalRoutes(api, deps);
        indexRoutes(api, deps);
        done();
      },
      { prefix: '/api/v1' },
    );
    guard.install();
  });
  await app.ready();
  return app;
}
