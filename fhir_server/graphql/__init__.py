"""FHIR's GraphQL. FHIR R4 graphql.html"""
