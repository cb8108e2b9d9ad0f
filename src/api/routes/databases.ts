import type { Access } from '../../access/access.ts';
import type { DatabaseFields } from '../../access/databases.ts';
import type { RecordingSettings } from '../../access/recording.ts';
import { actorOf } from '../authentication.ts';
import { Nothing, PageOf, PageQuery, UidParams } from '../contract/common.ts';
import { Database, DatabaseUpdate, NewDatabase } from '../contract/databases.ts';
import { databaseView, pageView } from '../views.ts';
import { failures, uidPage, type Api } from './typed.ts';

const tags = ['databases'];

export function databaseRoutes(api: Api, { databases }: Access): void {
  api.get(
    '/databases',
    {
      schema: {
        tags,
        summary: 'List databases; connectors see those they have a grant for',
        querystring: PageQuery,
        response: { 200: PageOf(Database), ...failures },
      },
    },
    async (request) => pageView(await databases.list(actorOf(request), uidPage(request.query)), databaseView),
  );

  api.post(
    '/databases',
    {
      schema: {
        tags,
        summary: 'Create a database',
        body: NewDatabase,
        response: { 201: Database, ...failures },
      },
    },
    async (request, reply) => {
      const { name, host, username, database_name } = request.body;
      const input = { ...fields(request.body), name, host, username, databaseName: database_name };
      return reply.code(201).send(databaseView(await databases.create(actorOf(request), input)));
    },
  );

  api.get(
    '/databases/:uid',
    {
      schema: {
        tags,
        summary: 'Show a database',
        params: UidParams,
        response: { 200: Database, ...failures },
      },
    },
    async (request) => databaseView(await databases.get(actorOf(request), request.params.uid)),
  );

  api.patch(
    '/databases/:uid',
    {
      schema: {
        tags,
        summary: 'Change a database; counts for new sessions',
        params: UidParams,
        body: DatabaseUpdate,
        response: { 200: Database, ...failures },
      },
    },
    async (request) =>
      databaseView(await databases.update(actorOf(request), request.params.uid, fields(request.body))),
  );

  api.delete(
    '/databases/:uid',
    {
      schema: {
        tags,
        summary: 'Delete a database that nobody has an active grant for',
        params: UidParams,
        response: { 204: Nothing, ...failures },
      },
    },
    async (request, reply) => {
      await databases.delete(actorOf(request), request.params.uid);
      return reply.code(204).send(null);
    },
  );
}

function fields(body: DatabaseUpdate): DatabaseFields {
  return {
    name: body.name,
    description: body.description,
    protocol: body.protocol === 'postgresql' ? 'postgres' : body.protocol,
    host: body.host,
    port: body.port,
    databaseName: body.database_name,
    username: body.username,
    password: body.password,
    sslMode: body.ssl_mode,
    sslCa: body.ssl_ca,
    sslCert: body.ssl_cert,
    sslKey: body.ssl_key,
    recording: body.recording === undefined ? undefined : recording(body.recording),
  };
}

function recording(body: NonNullable<DatabaseUpdate['recording']>): RecordingSettings {
  const settings: Record<string, string | number | boolean | undefined> = {
    durability: body.durability,
    captureRows: body.capture_rows,
    captureBytes: body.capture_bytes,
    captureCopyBytes: body.capture_copy_bytes,
    captureParameterBytes: body.capture_parameter_bytes,
    xidProbe: body.xid_probe,
    failOpen: body.fail_open,
    allowReplication: body.allow_replication,
    labelApplicationName: body.label_application_name,
    allowLocalInfile: body.allow_local_infile,
    statementComment: body.statement_comment,
  } satisfies RecordingSettings;
  // What was not sent must not hide what was set before.
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}
