{{/* What both containers have in common: the release and the resources. */}}
{{- define "ravelin.container" -}}
{{- $resources := index . 1 -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
resources:
  {{- toYaml $resources | nindent 2 }}
{{- end -}}

{{/* Where pods go. A new pod counts its own generation only, so that an update spreads as an installation does. */}}
{{- define "ravelin.placement" -}}
{{- $root := . -}}
{{- $keys := dict "kubernetes.io/hostname" .Values.topologySpread.nodes "topology.kubernetes.io/zone" .Values.topologySpread.zones -}}
{{- if or (ne .Values.topologySpread.nodes "Off") (ne .Values.topologySpread.zones "Off") }}
topologySpreadConstraints:
{{- range $key, $when := $keys }}
{{- if ne $when "Off" }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: {{ $when }}
  labelSelector:
    matchLabels:
      {{- include "ravelin.selector" $root | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
