// OpenFeature's providers for OFREP, for servers and for browsers, driven by lines: `server` or `web` is the argument.
//
// create    client, url, key, context  when the provider is ready. In a browser it has one context for all flags
// evaluate  client, questions:         `answers`: for each what OpenFeature answers in detail: value, variant, reason,
//           type, flag, context        errorCode, flagMetadata. The browser's changes its context for each. A type is
//                                      boolean, string, integer, float or object
// context   client, context            when the flags for another context have come
// read      client, questions:         the same as evaluate in the context that there is
//           type, flag
// news      client                     `news`: the provider's events so far; `requests`: what it has sent: method,
//                                      path with query, If-None-Match, and the answer's status
// close     client
'use strict';

const { serve } = require('./lines.cjs');

const isWeb = process.argv[2] === 'web';
if (isWeb) {
  // What a browser has and Node has not.
  const kept = new Map();
  globalThis.localStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, String(value)),
    removeItem: (key) => kept.delete(key),
  };
  globalThis.EventSource = require('eventsource').EventSource;
}
const sdk = require(isWeb ? '@openfeature/web-sdk' : '@openfeature/server-sdk');
const { OFREPWebProvider } = isWeb ? require('@openfeature/ofrep-web-provider') : {};
const { OFREPProvider } = isWeb ? {} : require('@openfeature/ofrep-provider');
const { OpenFeature, ProviderEvents } = sdk;
OpenFeature.setLogger({ error() {}, warn() {}, info() {}, debug() {} });

const clients = new Map(); // name (which is its domain, too) -> { news, requests }
const DEFAULTS = { boolean: false, string: 'default', integer: 0, float: 0, object: {} };

// fetch, and a list of what was fetched.
const recorded = (requests) => async (input, options) => {
  const request = new Request(input, options);
  const answer = await fetch(request);
  const { pathname, search } = new URL(request.url);
  requests.push([request.method, pathname + search, request.headers.get('If-None-Match'), answer.status]);
  return answer;
};

const details = (client, type, flag, context) => {
  const name = { boolean: 'Boolean', string: 'String', integer: 'Number', float: 'Number', object: 'Object' }[type];
  const ask = OpenFeature.getClient(client)[`get${name}Details`];
  return ask.call(OpenFeature.getClient(client), flag, DEFAULTS[type], ...(isWeb ? [] : [context]));
};

serve({
  create: async ({ client, url, key, context = {} }) => {
    const [news, requests] = [[], []];
    clients.set(client, { news, requests });
    const settings = { baseUrl: url, headers: [['Authorization', `Bearer ${key}`]], fetchImplementation: recorded(requests) };
    for (const event of Object.values(ProviderEvents))
      OpenFeature.getClient(client).addHandler(event, (about) =>
        news.push(about?.flagsChanged ? `${event}: ${about.flagsChanged}` : event),
      );
    if (isWeb) {
      const provider = new OFREPWebProvider({ ...settings, cacheMode: 'disabled' });
      await OpenFeature.setProviderAndWait(client, provider, context);
    } else await OpenFeature.setProviderAndWait(client, new OFREPProvider(settings));
  },
  evaluate: async ({ client, questions }) => {
    const answers = [];
    for (const [type, flag, context] of questions) {
      if (isWeb) await OpenFeature.setContext(client, context);
      answers.push(await details(client, type, flag, context));
    }
    return { answers };
  },
  context: ({ client, context }) => OpenFeature.setContext(client, context),
  read: async ({ client, questions }) => ({
    answers: await Promise.all(questions.map(([type, flag]) => details(client, type, flag, {}))),
  }),
  news: ({ client }) => ({ ...clients.get(client), mode: isWeb ? 'events' : 'none' }),
  close: async ({ client }) => {
    await OpenFeature.setProviderAndWait(client, sdk.NOOP_PROVIDER); // which closes the one before
    clients.delete(client);
  },
});
