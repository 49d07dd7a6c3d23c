{{- define "ravelin.name" -}}
{{- if contains "ravelin" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-ravelin" (.Release.Name | trunc 42 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* A name outside of namespaces: releases of one name may live in several. */}}
{{- define "ravelin.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "ravelin.name" .) -}}
{{- end -}}

{{/* Which pods are this release's. Immutable in a Deployment. */}}
{{- define "ravelin.selector" -}}
app.kubernetes.io/name: ravelin
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ravelin.labels" -}}
{{ include "ravelin.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "ravelin.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
