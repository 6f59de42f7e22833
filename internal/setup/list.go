package setup

import (
	"slices"
	"strings"
)

// span is where an element stands in a list.
type span struct{ start, end int }

// spans cuts a list of postconf(5) at commas and white space, but not within braces, which hold a value with options
// (postconf(5), "Parameters with multiple values").
func spans(list string) (found []span) {
	depth, start := 0, -1
	flush := func(end int) {
		if start >= 0 {
			found = append(found, span{start, end})
		}
		start = -1
	}
	for i, r := range list {
		switch {
		case r == '{':
			depth++
		case r == '}' && depth > 0:
			depth--
		case depth == 0 && strings.ContainsRune(separators, r):
			flush(i)
			continue
		}
		if start < 0 {
			start = i
		}
	}
	flush(len(list))
	return found
}

const separators = ", \t\r\n"

func elements(list string) (found []string) {
	for _, at := range spans(list) {
		found = append(found, list[at.start:at.end])
	}
	return found
}

// with is the list as it is written, with an element at its end unless it has one that is ours.
func with(list, element string, ours func(string) bool) string {
	all := elements(list)
	switch {
	case slices.ContainsFunc(all, ours):
		return list
	case len(all) == 0:
		return element
	}
	return strings.TrimRight(list, separators) + ", " + element
}

// without is the list as it is written, without the elements that are ours and the separators before them.
func without(list string, ours func(string) bool) string {
	for _, at := range slices.Backward(spans(list)) {
		if ours(list[at.start:at.end]) {
			list = strings.TrimRight(list[:at.start], separators) + list[at.end:]
		}
	}
	return strings.Trim(list, separators)
}

// compact is a list without blanks, as an -o option of master.cf takes it. Within braces commas separate as well.
func compact(list string) string {
	all := elements(list)
	for i, one := range all {
		if strings.HasPrefix(one, "{") && strings.HasSuffix(one, "}") {
			all[i] = "{" + compact(one[1:len(one)-1]) + "}"
		}
	}
	return strings.Join(all, ",")
}
