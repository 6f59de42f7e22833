package config

import "strings"

// suggest picks the known key that an unknown one was probably meant to be, or "" when none is near.
func suggest(unknown string, known []string) string {
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

// editDistance counts the insertions, deletions and replacements between two words (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
