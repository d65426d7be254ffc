// The same for all programs here: a JSON object a line comes in, and one goes out for each, in the same order.
//
// A request has `do`, and what that command needs; an answer has `ok`, and `error` (text) when that is false.
'use strict';

const readline = require('node:readline');

// Answer every request with what its command gives, which may be a promise.
exports.serve = async (commands) => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = { ok: true, ...(await commands[request.do](request)) };
    } catch (error) {
      answer = { ok: false, error: `${error.name}: ${error.message}` };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
  process.exit(0); // clients that are still open do not keep it
};

// Resolves when the emitter has one of the events, and fails after so many milliseconds without.
exports.happens = (emitter, events, within) =>
  new Promise((resolve, reject) => {
    const tooLate = setTimeout(() => reject(new Error(`none of ${events} within ${within} ms`)), within);
    for (const event of events)
      emitter.once(event, () => {
        clearTimeout(tooLate);
        resolve();
      });
  });
