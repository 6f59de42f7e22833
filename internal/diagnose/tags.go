package diagnose

import "strings"

// tags reads a list of tag=value pairs, as DKIM, DMARC, MTA-STS and TLS-RPT records are (RFC 6376 section 3.2). Names come in
// lower case; names that are there twice, or without a value's "=", make it bad.
func tags(text string) (values map[string]string, good bool) {
	values, good = map[string]string{}, true
	for spec := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(spec) == "" {
			continue
		}
		name, value, found := strings.Cut(spec, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := values[name]; !found || twice || name == "" {
			good = false
			continue
		}
		values[name] = strings.TrimSpace(value)
	}
	return values, good
}
