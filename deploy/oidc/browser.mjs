// Chromium logs in through the gateway, and out again. Usage: browser.mjs GATEWAY-ORIGIN ISSUER CHROMIUM
import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';

const [gateway, issuer, executablePath] = process.argv.slice(2);
const browser = await puppeteer.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--ignore-certificate-errors'],
  protocolTimeout: 120_000,
});
let step = 0;
const done = (what) => console.log(`ok ${++step} ${what}`);

/** A browser of its own, with its cookies. */
async function person() {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  return { context, page };
}

/** Fills in the provider's own forms, until the browser is back. */
async function logIn(page, path, name) {
  await page.goto(gateway + path);
  assert.ok(page.url().startsWith(`${issuer}/interaction/`), page.url());
  await page.type('input[name=login]', name);
  await page.type('input[name=password]', 'anything');
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
  if (page.url().startsWith(issuer)) {
    await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
  }
}

const text = (page) => page.evaluate(() => document.body.innerText);
const own = async (context) => (await context.cookies()).filter((cookie) => cookie.name.startsWith('__Host-sid'));

try {
  const ada = await person();
  await logIn(ada.page, '/cart?a=%2F&b=1', 'ada');
  assert.equal(ada.page.url(), `${gateway}/cart?a=%2F&b=1`);
  done('a browser logs in and is where it wanted to be');

  const seen = JSON.parse(await text(ada.page));
  assert.deepEqual(seen.headers['x-user'], ['ada']);
  assert.equal(seen.headers.cookie, undefined, 'the backend sees no session');
  done('the backend is told who it is, and sees no cookie of the session');

  for (const cookie of await own(ada.context)) {
    assert.ok(cookie.httpOnly && cookie.secure && cookie.sameSite === 'Lax' && cookie.path === '/', JSON.stringify(cookie));
    assert.ok(cookie.name.length + cookie.value.length < 4096);
  }
  assert.equal(await ada.page.evaluate(() => document.cookie), '');
  done('no script sees its cookies, and each is of less than 4 KiB');

  const before = JSON.stringify(await own(ada.context));
  await ada.page.waitForFunction(() => performance.now() > 2500, { polling: 100 });
  const statuses = await ada.page.evaluate(async () => {
    const asked = Array.from({ length: 8 }, (_, index) => fetch(`/script?${index}`));
    return (await Promise.all(asked)).map((answer) => answer.status);
  });
  assert.deepEqual(statuses, Array(8).fill(200));
  assert.notEqual(JSON.stringify(await own(ada.context)), before);
  done('eight requests at once with a stale log-in refresh it once');

  const bob = await person();
  const status = await (async () => {
    await bob.page.goto(`${gateway}/open`);
    return bob.page.evaluate(async () => (await fetch('/script')).status);
  })();
  assert.equal(status, 401);
  done('a script without a session gets a 401 and no redirect');

  await logIn(bob.page, '/', 'bob');
  const callbacks = [];
  bob.page.on('request', (request) => request.url().includes('/oauth2/callback') && callbacks.push(request.url()));
  const carol = await person();
  carol.page.on('request', (request) => request.url().includes('/oauth2/callback') && callbacks.push(request.url()));
  await logIn(carol.page, '/', 'carol');
  assert.equal(callbacks.length, 1);
  const replayed = await bob.page.goto(callbacks[0]);
  assert.equal(replayed.status(), 400);
  assert.equal((await carol.page.goto(callbacks[0])).status(), 400);
  done('a callback is good once, and in its own browser alone');

  await ada.page.goto(`${gateway}/logout`);
  assert.ok(ada.page.url().startsWith(`${issuer}/session/end`), ada.page.url());
  await Promise.all([ada.page.waitForNavigation(), ada.page.click('button[value=yes]')]);
  assert.equal(ada.page.url().split('?')[0], `${gateway}/logout`);
  assert.equal((await text(ada.page)).trim(), 'You are logged out.');
  assert.deepEqual(await own(ada.context), []);
  await ada.page.goto(`${gateway}/`);
  assert.ok(ada.page.url().startsWith(`${issuer}/interaction/`), 'the issuer has forgotten her too');
  done('who logs out is logged out here and at the issuer');

  const kept = await own(carol.context);
  await carol.page.goto(`${issuer}/session/end`);
  await Promise.all([carol.page.waitForNavigation(), carol.page.click('button[value=yes]')]);
  assert.deepEqual(await own(carol.context), kept, 'the browser has its cookie still');
  await carol.page.goto(`${gateway}/`);
  assert.ok(carol.page.url().startsWith(`${issuer}/interaction/`), carol.page.url());
  done('who logs out at the issuer is logged out here by its back-channel');
  assert.deepEqual((await (await bob.page.goto(`${gateway}/`)).json()).headers['x-user'], ['bob']);
  done('and nobody else is');
} finally {
  await browser.close();
}
