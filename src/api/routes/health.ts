/** For load balancers and monitoring, outside of `/api/v1` and open: they say nothing about anybody. */
import { Type } from 'typebox';
import { Health, Ready } from '../contract/journal.ts';
import type { ApiDeps } from '../deps.ts';
import type { Api } from './typed.ts';

const tags = ['health'];

export function healthRoutes(api: Api, { metrics, ready, version }: ApiDeps): void {
  const config = { open: true };

  api.get(
    '/healthz',
    {
      config,
      schema: { tags, summary: 'The process is alive', security: [], response: { 200: Health } },
    },
    () => ({ status: 'ok' as const, version }),
  );

  api.get(
    '/readyz',
    {
      config,
      schema: {
        tags,
        summary: 'Statements can be recorded and forwarded',
        security: [],
        response: { 200: Ready, 503: Ready },
      },
    },
    async (_request, reply) => {
      const state = await ready();
      return reply
        .code(state.ready ? 200 : 503)
        .send({ status: state.ready ? 'ready' : 'not ready', checks: { ...state.checks } });
    },
  );

  if (metrics === null) return;
  api.get(
    '/metrics',
    {
      config,
      schema: {
        tags,
        summary: 'Metrics for Prometheus',
        security: [],
        response: { 200: Type.String({ description: 'the Prometheus text format' }) },
      },
    },
    async (_request, reply) =>
      reply
        .type(metrics.contentType)
        .serializer((text: unknown) => String(text))
        .send(await metrics.read()),
  );
}
