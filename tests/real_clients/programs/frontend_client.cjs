// Unleash's SDK for browsers, driven by lines. Its requests are described in `unleash_sdk.py`; in addition
//   create has `by_post`: whether contexts go into the body instead of the query, and `context`: the first of them;
//   context  client, context   when the flags for another context have come. What is asked by `evaluate` is asked in
//                              its own context each time, as if its user had signed in.
'use strict';

const { UnleashClient } = require('unleash-proxy-client');
const { serve } = require('./lines.cjs');

const clients = new Map(); // name -> { settings, unleash, news }

const started = async (settings, context) => {
  const { appName = 'real-clients', environment = 'default', ...mutable } = context;
  const unleash = new UnleashClient({ ...settings, appName, environment, context: mutable });
  const news = [];
  for (const event of ['update', 'sent', 'recovered']) unleash.on(event, () => news.push(event));
  unleash.on('error', (error) => news.push(`error: ${error.message ?? JSON.stringify(error)}`));
  await unleash.start();
  return { settings, unleash, news };
};

const answer = (unleash, question, flag) =>
  question === 'is enabled' ? unleash.isEnabled(flag) : unleash.getVariant(flag);

serve({
  create: async ({ client, url, key, refresh, by_post: usePOSTrequests = false, context = {} }) => {
    const settings = { url: `${url}/api/frontend`, clientKey: key, refreshInterval: refresh, usePOSTrequests };
    const quiet = { metricsInterval: 1e6, metricsIntervalInitial: 1e6 }; // metrics are sent when asked for
    clients.set(client, await started({ ...settings, ...quiet }, context));
  },
  evaluate: async ({ client, questions }) => {
    const { settings } = clients.get(client);
    const answers = [];
    for (const [question, flag, context] of questions) {
      const { unleash } = await started({ ...settings, refreshInterval: 0, disableMetrics: true }, context);
      answers.push(answer(unleash, question, flag));
      unleash.stop();
    }
    return { answers };
  },
  context: async ({ client, context }) => {
    await clients.get(client).unleash.updateContext(context);
  },
  toggles: ({ client }) => ({ toggles: clients.get(client).unleash.getAllToggles() }),
  news: ({ client }) => ({ news: clients.get(client).news, mode: 'polling' }),
  flush: async ({ client, flags }) => {
    const { unleash } = clients.get(client);
    for (const flag of flags) unleash.isEnabled(flag);
    await unleash.metrics.sendMetrics(); // which it would do by itself at times only
  },
  close: ({ client }) => {
    clients.get(client).unleash.stop();
    clients.delete(client);
  },
});
