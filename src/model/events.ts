/** The event model: generated from `proto/dbwitness/v1/events.proto`, re-exported under one roof. */
export * from './gen/dbwitness/v1/events_pb.js';
export * from './gen/dbwitness/v1/stream_pb.js';
