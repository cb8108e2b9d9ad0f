/** OpenAPI 3.1, made from the same schemas that check the requests, and a page to read it, without any network. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';

const DOCS = '/api/docs';

const TAGS = [
  { name: 'login', description: 'A password becomes a bearer token' },
  { name: 'users', description: 'Who may log in, and as what' },
  { name: 'databases', description: 'Named targets with upstream credentials that nobody sees' },
  { name: 'grants', description: 'User × database × controls × time window × quotas' },
  { name: 'keys', description: 'API keys, which are database passwords too' },
  { name: 'sessions', description: 'Audited connections' },
  { name: 'statements', description: 'What was run, and what came of it' },
  { name: 'events', description: 'Everything else that was recorded' },
  { name: 'journal', description: 'Proof' },
  { name: 'health', description: 'For monitoring' },
];

const DESCRIPTION = `Every path into a database, watched.

Log in with \`POST /api/v1/auth/login\` and send the token as \`Authorization: Bearer …\`, or send an API key (\`dbw_…\`) the
same way. An API key reads what its owner reads and can take access away, but never gives access.

Lists have \`items\` and \`next_cursor\`; pass it as \`cursor\` for the next page. Times are RFC 3339. Fields that are not
known are refused. Failures are problems (RFC 9457) with a stable \`code\`.`;

/**
 * The page loads its own files and asks this node, nothing else. The package's own policy would let the browser turn http
 * into https, which leaves an empty page wherever TLS ends elsewhere. The hash is of a style attribute of Swagger UI's.
 */
const CONTENT_SECURITY_POLICY = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self' 'unsafe-hashes' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
};

/** Register before the routes. */
export async function installOpenapi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'dbwitness', version, description: DESCRIPTION, license: { name: 'Apache-2.0' } },
      servers: [{ url: '/' }],
      tags: TAGS,
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'the token of a login, or an API key' },
        },
      },
      security: [{ bearer: [] }],
    },
  });
  await app.register(swaggerUi, {
    routePrefix: DOCS,
    staticCSP: CONTENT_SECURITY_POLICY,
    // Without the bar on top, which offers to load other documents.
    uiConfig: { layout: 'BaseLayout', deepLinking: true, persistAuthorization: false, validatorUrl: null },
    theme: { title: 'dbwitness API' },
  });
}

/** Register after `installOpenapi`: the document under the address that people look for. */
export function openapiRoute(app: FastifyInstance): void {
  app.get(`${DOCS}/openapi.json`, { schema: { hide: true }, config: { open: true } }, (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(app.swagger()),
  );
}
