// Unleash's SDK for Node, driven by lines. Its requests are described in `unleash_sdk.py`. There is a third mode here,
// "delta": polls that are answered with what has changed.
'use strict';

const { InMemStorageProvider, Unleash } = require('unleash-client');
const { happens, serve } = require('./lines.cjs');

const clients = new Map(); // name -> { unleash, news }

const answer = (unleash, [question, flag, context]) => {
  if (question === 'is enabled') return unleash.isEnabled(flag, context);
  const { featureEnabled, ...variant } = unleash.getVariant(flag, context); // the same as feature_enabled
  return variant;
};

serve({
  create: async ({ client, url, key, mode, refresh, patience }) => {
    const unleash = new Unleash({
      url: `${url}/api`,
      appName: 'real-clients',
      customHeaders: { Authorization: key },
      refreshInterval: refresh * 1000,
      metricsInterval: 0x7fffffff, // sent when asked for
      storageProvider: new InMemStorageProvider(),
      experimentalMode: mode === 'delta' ? { type: 'polling', format: 'delta' } : { type: mode },
      skipInstanceCountWarning: true,
    });
    const news = [];
    for (const event of ['changed', 'unchanged', 'registered', 'sent']) unleash.on(event, () => news.push(event));
    for (const event of ['error', 'warn']) unleash.on(event, (what) => news.push(`${event}: ${what.message ?? what}`));
    // The SDK tells others of this only when it has changed; so does its repository.
    unleash.repository.on('mode', ({ to }) => news.push(`mode: ${to}`));
    clients.set(client, { unleash, news });
    await happens(unleash, ['synchronized'], patience * 1000).catch((error) => {
      throw new Error(`${error.message}; there was ${JSON.stringify(news)}`);
    });
  },
  evaluate: ({ client, questions }) => {
    const { unleash } = clients.get(client);
    return { answers: questions.map((question) => answer(unleash, question)) };
  },
  table: ({ client, questions, contexts }) => {
    const { unleash } = clients.get(client);
    const cell = ([question, flag], context) => {
      if (question === 'is enabled') return String(unleash.isEnabled(flag, context));
      const variant = unleash.getVariant(flag, context);
      return [variant.feature_enabled, variant.name, variant.payload?.value ?? ''].join('|');
    };
    return { rows: contexts.map((context) => questions.map((question) => cell(question, context))) };
  },
  news: ({ client }) => ({ news: clients.get(client).news, mode: clients.get(client).unleash.repository.getMode() }),
  flush: async ({ client }) => {
    await clients.get(client).unleash.flushMetrics();
  },
  close: ({ client }) => {
    const { unleash } = clients.get(client);
    unleash.destroy();
    // It takes its listeners away, also from requests that are still under way: an error of one would end the process.
    for (const emitter of [unleash, unleash.repository]) emitter.on('error', () => {});
    clients.delete(client);
  },
});
