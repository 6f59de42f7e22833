package config

import "strings"

// suggest picks the known key that an unknown one was probably meant to be, or "" when none is near.
func suggest(unknown string, known []string) string {
	if len(unknown) > 64 { // no key is nearly as long
		return ""
	}
	unknown = strings.ToLower(unknown)
	best, distance := "", len(unknown)/3+1
	for _, key := range known {
		if strings.ReplaceAll(unknown, "-", "_") == key {
			return key
		}
		if d := editDistance(unknown, key); d < distance {
			best, distance = key, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours between two words.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
