/**
 * An etcd endpoint as flanneld takes it: `http://host:port`, `https://host:port` or bare `host:port`.
 */
type EndpointResult =
  | { readonly ok: true; readonly url: string; readonly user: boolean; readonly bare: boolean }
  | { readonly ok: false; readonly reason: string };

/**
 * The endpoint as `scheme://host:port`, the port always written out; a bare one gets `http` (the caller knows whether
 * TLS is wanted). A user in it is dropped, as etcd's own client does; `user` tells.
 */
export function parseEndpoint(text: string): EndpointResult {
  const bare = !/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text);
  const url = parseUrl(bare ? `http://${text}` : text);
  if (url === undefined || url.hostname === '') return { ok: false, reason: 'is no URL like http://host:2379' };
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    return { ok: false, reason: 'is neither http:// nor https://' };
  if (!/^\/?$/.test(url.pathname) || url.search !== '' || url.hash !== '') {
    return { ok: false, reason: 'must end after the port' };
  }
  if (url.port === '' && bare && !/:80$/.test(text)) return { ok: false, reason: 'has no port' };
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  const user = url.username !== '' || url.password !== '';
  return { ok: true, url: `${url.protocol}//${url.hostname}:${port}`, user, bare };
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

/** The text without the `user:password@` of a URL, for logs and messages. */
export function blankUser(text: string): string {
  return text.replace(/^([A-Za-z][A-Za-z0-9+.-]*:\/\/)?.*@/s, (_, scheme: string | undefined) => `${scheme ?? ''}***@`);
}
