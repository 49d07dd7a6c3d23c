// node-oidc-provider as it is, with one client: the gateway. Usage: provider.mjs GATEWAY-ORIGIN; the first line on stdout is the issuer.
import http from 'node:http';
import { Provider } from 'oidc-provider';

const gateway = process.argv[2];
const server = http.createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'web',
    client_secret: 'a-secret-of-some-length',
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: [`${gateway}/oauth2/callback`],
    post_logout_redirect_uris: [`${gateway}/logout`],
    backchannel_logout_uri: `${gateway}/logout`,
    backchannel_logout_session_required: true,
  }],
  features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
  pkce: { required: () => true },
  // Each request of a page finds its log-in stale, and each refresh token is good for one time.
  ttl: { AccessToken: 1 },
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  // By default it tells nobody at a loopback address of a log-out.
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  cookies: { keys: ['for this run alone'] },
  findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
});
for (const event of ['grant.success', 'grant.error', 'backchannel.success', 'backchannel.error', 'server_error']) {
  provider.on(event, (ctx, error) => {
    const grant = ctx?.oidc?.params?.grant_type ?? '';
    console.error(event, grant, error?.error_description ?? error?.cause ?? error?.message ?? '');
  });
}
server.on('request', provider.callback());
console.log(issuer);
