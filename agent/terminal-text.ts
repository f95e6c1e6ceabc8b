/** Text from outside (etcd, Docker, rules, files) as one line in which nothing moves a terminal's cursor. */
export function harmless(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}
